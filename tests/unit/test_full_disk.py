"""A ledger that cannot be written, its disk full or broken: what was reached and what came of it is known."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from guardian.host import durable, paths, spare, unsaved
from guardian.host.checkpoint import NOTES, SPARE_RESULT, Checkpoint
from guardian.model.outcome import Outcome, Result
from guardian.model.states import State
from tests.unit.samples import container


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    folder = tmp_path / "checkpoint"
    (folder / "ledger").mkdir(parents=True)
    return Checkpoint(folder)


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and another disk, which can be written."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "run" / "results")
    monkeypatch.setattr(paths, "UNSAVED", tmp_path / "checkpoint" / "unsaved")
    monkeypatch.setattr(paths, "UNSAVED_RUN", tmp_path / "run" / "unsaved")


def _fail(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    write = durable.write

    def fails(path: Path, text: str) -> None:
        if "run" in path.parts:
            return write(path, text)
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(durable, "write", fails)


def _result(checkpoint: Checkpoint) -> Result:
    return Result("a" * 64, "app", Outcome.COLD, "No space left on device", 0.0, checkpoint.id)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_mark_needs_no_block(checkpoint: Checkpoint, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkpoint.folder / "mark").write_text("format=1\n")
    _fail(monkeypatch, number)
    for _ in range(2):
        checkpoint.mark(State.ORPHANED, "why")
    assert checkpoint.marks() == {"orphaned"}
    assert checkpoint.note(State.ORPHANED) == ""


def test_its_note_is_written_over_what_lies_ready(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkpoint.folder / "mark").write_text("format=1\n")
    spare.prepare(checkpoint.folder / NOTES)
    inode = (checkpoint.folder / NOTES).stat().st_ino
    _fail(monkeypatch, errno.ENOSPC)
    checkpoint.mark(State.VOID, "first\x1b[31m")
    checkpoint.mark(State.ORPHANED, "x" * 5000)
    checkpoint.mark(State.SPENT)
    assert checkpoint.note(State.VOID).startswith("first")
    assert "\x1b" not in checkpoint.note(State.VOID)
    assert checkpoint.note(State.ORPHANED) == "x" * 300
    assert checkpoint.note(State.SPENT) == ""
    assert checkpoint.note(State.EXPIRED) == ""
    assert (checkpoint.folder / NOTES).stat().st_ino == inode
    assert (checkpoint.folder / NOTES).stat().st_size == spare.SIZE


def test_a_result_takes_the_place_of_what_lies_ready(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare.prepare(checkpoint.folder / SPARE_RESULT)
    _fail(monkeypatch, errno.ENOSPC)
    checkpoint.set_result(_result(checkpoint))
    assert checkpoint.result() == _result(checkpoint)
    assert (checkpoint.folder / "result.json").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_result_is_known_though_it_can_be_written_nowhere(
    checkpoint: Checkpoint, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        _fail(broken, number)
        with pytest.raises(OSError, match=os.strerror(number)):
            checkpoint.set_result(_result(checkpoint))
        assert checkpoint.result() == _result(checkpoint)
        with pytest.raises(OSError, match=os.strerror(number)):
            checkpoint.write_result()
        assert checkpoint.result() == _result(checkpoint)
    checkpoint.write_result()
    assert not list(paths.RESULTS.iterdir())
    assert checkpoint.result() == _result(checkpoint)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    spare.prepare(tmp_path / "spare")
    with pytest.raises(OSError, match="does not fit"):
        spare.overwrite(tmp_path / "spare", "x" * (spare.SIZE + 1))
    assert (tmp_path / "spare").read_text().strip() == ""


def test_a_note_of_after_the_checkpoint_is_kept() -> None:
    """Its container was started cold meanwhile, and could not be saved again."""
    app = container("app")
    paths.UNSAVED.parent.mkdir(exist_ok=True)
    unsaved.note(app, "why")
    written = (paths.UNSAVED / app.id).stat().st_mtime
    unsaved.forget(app.id, before=written)
    assert unsaved.noted().keys() == {app.id}
    unsaved.forget(app.id, before=written + 1)
    assert not unsaved.noted()


def test_whoever_is_left_to_dockerd_is_noted_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    app, other = container("app"), container("other")
    unsaved.note(other, "why")
    _fail(monkeypatch, errno.EROFS)
    unsaved.note(app, "Read-only\nfile system")
    (paths.UNSAVED / ("b" * 64)).write_text("{")
    (paths.UNSAVED / ("c" * 64)).write_text("[]")
    found = unsaved.noted()
    assert found.keys() == {app.id, other.id}
    assert "\n" not in found[app.id].reason
    assert found[app.id].started_at == app.started_at
    for item in (app, other):
        unsaved.forget(item.id)
        unsaved.forget(item.id)
    assert not unsaved.noted()


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
