"""A dump is brought to its end although the store cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from guardian.host import durable
from guardian.host.checkpoint import Checkpoint
from guardian.model.states import Verdict
from guardian.work.settle import decide_void


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    made = Checkpoint(tmp_path / "store" / "id" / "one")
    made.marks_folder.mkdir(parents=True)
    for word in Verdict:
        (made.folder / f"word.{word.value}").write_text(f"{word.value}\n")
    return made


def _refuse(*_arguments: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_what_cannot_be_written_is_void_where_nothing_is_decided(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _refuse)
    assert decide_void(checkpoint) is Verdict.VOID
    assert checkpoint.verdict() is None


def test_a_commit_stays_one(checkpoint: Checkpoint) -> None:
    checkpoint.decide(Verdict.COMMIT)
    assert decide_void(checkpoint) is Verdict.COMMIT


def test_a_verdict_that_is_there_is_not_overruled(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.decide(Verdict.COMMIT)
    monkeypatch.setattr(os, "link", _refuse)
    with pytest.raises(OSError, match="Read-only"):
        decide_void(checkpoint)


def test_void_holds_where_only_its_fsync_fails(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container stayed frozen."""
    monkeypatch.setattr(durable, "sync_folder", _refuse)
    assert decide_void(checkpoint) is Verdict.VOID
    assert checkpoint.verdict() is Verdict.VOID


def test_a_commit_whose_fsync_fails_is_not_taken_for_one(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.decide(Verdict.COMMIT)
    monkeypatch.setattr(durable, "sync_folder", _refuse)
    with pytest.raises(OSError, match="Read-only"):
        decide_void(checkpoint)


def test_an_id_says_when_to_the_millisecond(tmp_path: Path) -> None:
    """A container may have been started in the second in which it was saved."""
    assert Checkpoint(tmp_path / "20261126T202921375-abcdef").taken() == 1795724961.375
    assert Checkpoint(tmp_path / "not an id").taken() == 0.0
    assert Checkpoint(tmp_path / "20261126T202921xyz-abcdef").taken() == 0.0
