"""A resume that is given up leaves nothing of itself in the worker, which is resident."""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path

import pytest

from guardian.host import announcements, docker_daemon, gate, paths, runc
from guardian.host.checkpoint import Checkpoint
from guardian.host.record import Record
from guardian.model.config import defaults
from guardian.model.container import Container
from guardian.model.graph import build
from guardian.model.outcome import Outcome
from guardian.model.states import Purpose, State
from guardian.work import resume, running
from guardian.work.host import Host
from guardian.work.restore import restore
from guardian.work.resume import Pending, Resume
from tests.unit.samples import container


@pytest.fixture
def item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Host, Pending]:
    """A checkpoint that waits, on a host without dockerd."""
    for name in ("TICKETS", "HOLDERS", "RESTORES", "HOLDS"):
        monkeypatch.setattr(paths, name, tmp_path / name)
        (tmp_path / name).mkdir()
    monkeypatch.setattr(runc, "restore_flags", tuple)
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: 0)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    host = Host.of(dataclasses.replace(defaults(), store_path=str(tmp_path / "store"), restore_budget=0.0))
    it = container(running=False)
    record = Record(it, Purpose.SUSPEND, 1.79e9, "boot", (it.id,), "", True, 0, False)
    return host, Pending(host.ledger.begin(record), record, it)


def test_one_that_was_begun_and_given_up_keeps_no_descriptor(item: tuple[Host, Pending]) -> None:
    one = Resume(*item, set, None)
    one.begin(1.0)
    pipe = os.readlink(f"/proc/self/fd/{one.ended}")
    one.abandon()
    assert one.ended == -1, "closed once: the number may be another one's by now"
    found = [path.name for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert pipe not in {_target(name) for name in found}


def test_whose_turn_comes_after_the_budget_is_not_tried(
    item: tuple[Host, Pending], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, pending = item
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: 1)
    monkeypatch.setattr(announcements, "_SOCKET", tmp_path / "announcements")
    [result] = restore(host, build([], []), [pending], stopping=threading.Event(), say=lambda _: None)
    assert result.reason.startswith(
        "no time was left in the budget for its restore; and it did not start cold"
    )
    assert State.ORPHANED.value in pending.checkpoint.marks()
    assert State.TICKETED.value not in pending.checkpoint.marks()


def test_the_hold_ends_before_anything_is_written_down(
    item: tuple[Host, Pending], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its user may restart it from the moment it runs, however long the store takes."""
    host, pending = item
    monkeypatch.setattr(running, "look", lambda it: it)
    gate.hold(pending.container.id, pending.container.name, pending.checkpoint.folder)
    held: list[bool] = []
    monkeypatch.setattr(Checkpoint, "mark", lambda *_: held.append(gate.held(pending.container.id)))
    assert Resume(host, pending, set, None)._resumed([]).outcome == Outcome.RESUMED
    assert held == [False, False]


def test_one_that_was_started_anew_while_it_was_still_held_starts_cold(
    item: tuple[Host, Pending], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its restart, its user's or its policy's, was refused, and nobody tries it again."""
    host, pending = item
    monkeypatch.setattr(paths, "FACTS", paths.HOLDS)
    refused = dataclasses.replace(pending.container, running=False, error=f"{gate.REFUSAL}; wait for it")
    monkeypatch.setattr(running, "look", lambda _: refused)
    started: list[str] = []

    def start(it: Container, reason: str, *_: float) -> tuple[Outcome, str]:
        started.append(it.id)
        return Outcome.COLD, reason

    monkeypatch.setattr(resume, "cold", start)
    gate.hold(pending.container.id, pending.container.name, pending.checkpoint.folder)
    result = Resume(host, pending, set, None)._resumed([])
    assert (result.outcome, started) == (Outcome.COLD, [pending.container.id])
    assert "started since, without guardian" in result.reason


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:
        return ""  # that of the list itself
