"""A ledger on a full disk: what was reached is marked all the same."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from guardian.host import durable
from guardian.host.checkpoint import Checkpoint
from guardian.model.states import State


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    (tmp_path / "ledger").mkdir()
    return Checkpoint(tmp_path)


def _fail(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def write(path: Path, _text: str) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(durable, "write", write)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_mark_needs_no_block(checkpoint: Checkpoint, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkpoint.folder / "mark").write_text("format=1\n")
    _fail(monkeypatch, number)
    for _ in range(2):
        checkpoint.mark(State.ORPHANED, "why")
    assert checkpoint.marks() == {"orphaned"}
    assert checkpoint.note(State.ORPHANED) == ""


def test_any_other_error_is_one(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkpoint.folder / "mark").write_text("format=1\n")
    _fail(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        checkpoint.mark(State.SPENT)
    assert checkpoint.marks() == frozenset()


def test_nothing_is_made_up_for_a_record_of_before(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        checkpoint.mark(State.SPENT)
