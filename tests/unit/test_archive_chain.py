"""Steps that were written ahead in an archive: their links come back, and no archive makes one."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from guardian.host import archive_reader, chain
from guardian.host.archive_writer import ArchiveWriter
from guardian.host.tar_reader import BadArchive
from guardian.model import steps
from guardian.model.errors import BadInput, GuardianError
from tests.unit.test_archive import MANIFEST


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "unpacked"
    place.mkdir()
    return place


def _chain(folder: Path, count: int) -> Path:
    """Images with so many steps before the last."""
    for part in (folder, *(folder / steps.name(number) for number in range(1, count + 1))):
        part.mkdir(mode=0o700)
        (part / "pages-1.img").write_bytes(part.name.encode())
    chain.make_links(folder)
    return folder


def _of_chain(folder: Path, change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> bytes:
    """The archive of a chain, with a change to each link."""
    stream = io.BytesIO()
    out = ArchiveWriter(stream.write)
    out.images(folder)
    out.finish(MANIFEST)
    stream.seek(0)
    changed = io.BytesIO()
    with (
        tarfile.open(fileobj=stream) as read,
        tarfile.open(fileobj=changed, mode="w", format=tarfile.GNU_FORMAT) as write,
    ):
        for info in read:
            if info.issym():
                change(info)
            write.addfile(info, read.extractfile(info) if info.isreg() else None)
    return changed.getvalue()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_steps_that_were_written_ahead_come_back(tmp_path: Path, folder: Path, count: int) -> None:
    data = _of_chain(_chain(tmp_path / "img", count))
    archive_reader.unpack(io.BytesIO(data), folder, most=1 << 20)
    images = folder / "checkpoint"
    assert [part.name for part in chain.folders(images)] == ["checkpoint", "pre-1", "pre-2", "pre-3"][
        : count + 1
    ]
    assert chain.links(images) == {}, "an import makes its own"
    chain.make_links(images)
    if count == 3:
        assert chain.links(images) == {
            "parent": "pre-3",
            "pre-2/parent": "../pre-1",
            "pre-3/parent": "../pre-2",
        }
        assert (images / "parent/parent/parent/pages-1.img").read_text() == "pre-1"


def _elsewhere(info: tarfile.TarInfo) -> None:
    info.linkname = "/etc"


def _too_deep(info: tarfile.TarInfo) -> None:
    info.linkname = "../" * 3 + info.linkname


def _other_name(info: tarfile.TarInfo) -> None:
    info.name = "checkpoint/other"


def _other_folder(info: tarfile.TarInfo) -> None:
    info.name = info.name.replace("checkpoint", "guardian")


def _swapped(info: tarfile.TarInfo) -> None:
    info.linkname = info.linkname.replace("2", "x").replace("1", "2").replace("x", "1")


@pytest.mark.parametrize("change", [_elsewhere, _too_deep, _other_name, _other_folder, _swapped])
def test_links_of_another_kind_are_refused(
    tmp_path: Path, folder: Path, change: Callable[[tarfile.TarInfo], None]
) -> None:
    data = _of_chain(_chain(tmp_path / "img", 2), change)
    with pytest.raises(BadInput, match=r"link|no ordinary file"):
        archive_reader.unpack(io.BytesIO(data), folder, most=1 << 20)
    assert not [path for path in folder.rglob("*") if path.is_symlink()]


def test_a_step_that_is_missing_is_refused(tmp_path: Path, folder: Path) -> None:
    images = _chain(tmp_path / "img", 2)
    shutil.rmtree(images / "pre-1")
    (images / "parent").unlink()
    (images / "pre-2" / "parent").unlink()
    data = _of_chain(images)
    with pytest.raises(BadInput, match="of a step are missing"):
        archive_reader.unpack(io.BytesIO(data), folder, most=1 << 20)


def test_a_link_that_is_not_there_is_refused(tmp_path: Path, folder: Path) -> None:
    images = _chain(tmp_path / "img", 2)
    (images / "parent").unlink()
    with pytest.raises(BadArchive, match="links in the archive"):
        archive_reader.unpack(io.BytesIO(_of_chain(images)), folder, most=1 << 20)


def test_a_link_that_leads_elsewhere_is_not_exported(tmp_path: Path) -> None:
    images = _chain(tmp_path / "img", 1)
    (images / "parent").unlink()
    (images / "parent").symlink_to("/etc")
    with pytest.raises(GuardianError, match="no image of CRIU's"):
        _of_chain(images)
