"""Images that are not needed any more: put aside at once, overwritten, removed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from guardian.host import encryption, erasure
from guardian.host.mounts import filesystem_of
from guardian.model.errors import StoreError

GO_ON = threading.Event()


def _checkpoint(store: Path, content: bytes) -> Path:
    folder = store / "id" / "checkpoint"
    (folder / "img").mkdir(parents=True)
    (folder / "img" / "pages-1.img").write_bytes(content)
    return folder


def test_it_is_out_of_the_way_at_once_and_gone_afterwards(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path, b"secret")
    erasure.put_aside(folder, tmp_path)
    assert not folder.exists()
    assert erasure.waiting.is_set()
    erasure.erase(tmp_path, overwrite=True, stop=GO_ON)
    assert not (tmp_path / erasure.ASIDE).exists()
    erasure.put_aside(folder, tmp_path)  # not there: no error
    assert not (tmp_path / erasure.ASIDE).exists()


def test_it_is_put_aside_though_another_process_removes_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _checkpoint(tmp_path, b"secret")
    rename, calls = os.rename, []

    def raced(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 1:
            target.parent.rmdir()
        rename(source, target)

    monkeypatch.setattr(os, "rename", raced)
    assert erasure.put_aside(folder, tmp_path) == calls[-1]
    assert not folder.exists()
    assert calls[-1].exists()


def test_blocks_are_overwritten_holes_stay_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is kept open: what is read through it afterwards is what its blocks hold."""
    monkeypatch.setattr(erasure, "filesystem_of", lambda _: "ext4")
    folder = _checkpoint(tmp_path, b"secret" * 1000)
    path = folder / "img" / "pages-1.img"
    os.truncate(path, 10 << 20)
    with path.open("rb") as kept:
        blocks = os.fstat(kept.fileno()).st_blocks
        erasure.put_aside(folder, tmp_path)
        erasure.erase(tmp_path, overwrite=True, stop=GO_ON)
        assert not kept.read().strip(b"\0")
        assert os.fstat(kept.fileno()).st_blocks == blocks


def test_what_has_another_name_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "filesystem_of", lambda _: "ext4")
    folder = _checkpoint(tmp_path, b"kept")
    os.link(folder / "img" / "pages-1.img", tmp_path / "other")
    (folder / "img" / "link.img").symlink_to(tmp_path / "other")
    erasure.put_aside(folder, tmp_path)
    erasure.erase(tmp_path, overwrite=True, stop=GO_ON)
    assert (tmp_path / "other").read_bytes() == b"kept"


def test_it_can_be_stopped_and_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "filesystem_of", lambda _: "ext4")
    erasure.put_aside(_checkpoint(tmp_path, b"secret"), tmp_path)
    stop = threading.Event()
    stop.set()
    erasure.erase(tmp_path, overwrite=True, stop=stop)
    assert (tmp_path / erasure.ASIDE).exists()
    erasure.erase(tmp_path, overwrite=True, stop=GO_ON)
    assert not (tmp_path / erasure.ASIDE).exists()


def test_the_kind_of_a_file_system() -> None:
    assert filesystem_of(Path("/proc")) == "proc"


def test_a_store_without_a_key_protects_nothing(tmp_path: Path) -> None:
    assert not encryption.is_set_up(tmp_path)
    assert not encryption.is_locked(tmp_path, tmp_path)
    with pytest.raises(StoreError, match="has no key"):
        encryption.protect(tmp_path, tmp_path)
    (tmp_path / encryption.IDENTIFIER).write_text("nonsense\n")
    assert not encryption.is_set_up(tmp_path)
    (tmp_path / encryption.IDENTIFIER).write_text("00" * 16 + "\n")
    with pytest.raises(StoreError, match="cannot be encrypted"):
        encryption.protect(tmp_path, tmp_path)
