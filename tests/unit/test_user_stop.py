"""What dockerd says of a container that is being saved, and what its user has meant by it."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

from guardian.host import docker_daemon, gate, systemd, unsaved
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import StartRefused
from guardian.host.record import Record
from guardian.model.config import defaults
from guardian.model.container import Container
from guardian.model.states import Purpose, State
from guardian.work import user_stop
from guardian.work.host import Host
from tests.unit.samples import container

_DOCKERD = 4711


@dataclasses.dataclass
class _Engine:
    """A dockerd that answers what the test wants."""

    now: Container
    asked: list[str] = dataclasses.field(default_factory=list)

    def wait_until_down(self, container_id: str, *, limit: float) -> None:
        assert limit > 0
        self.asked.append(container_id)

    def container(self, container_id: str) -> Container:
        assert container_id == self.now.id
        return self.now

    def close(self) -> None:
        pass


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Host, Checkpoint]:
    """A container that is being saved, whose stop signal is SIGINT."""
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: _DOCKERD)
    monkeypatch.setattr(systemd, "active_state", lambda _: "active")
    monkeypatch.setattr(unsaved, "forget", lambda _: None)
    monkeypatch.setattr(user_stop, "_RESTART_SHOWS", 0.0)
    host = Host.of(dataclasses.replace(defaults(), store_path=str(tmp_path)))
    it = container(stop_signal="SIGINT")
    return host, host.ledger.begin(Record(it, Purpose.SUSPEND, 1.79e9, "boot", (it.id,), "", True, 0, False))


def _down(monkeypatch: pytest.MonkeyPatch, error: str = "") -> _Engine:
    engine = _Engine(container(running=False, error=error))
    monkeypatch.setattr(user_stop, "Engine", lambda: engine)
    return engine


@pytest.mark.parametrize(
    ("number", "meant"), [("2", True), ("9", True), ("15", False), ("1", False), ("x", False)]
)
def test_its_own_signal_and_the_last_one_are_a_stop(
    saved: tuple[Host, Checkpoint], number: str, meant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are between its user and what runs in it."""
    host, checkpoint = saved
    engine = _down(monkeypatch)
    user_stop.heard(host, checkpoint.container_id, number)
    assert (user_stop.will(checkpoint, engine.now) == user_stop.STOPPED) is meant
    assert bool(engine.asked) is meant


def test_a_signal_to_the_dead_is_guardians(
    saved: tuple[Host, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, checkpoint = saved
    engine = _down(monkeypatch)
    checkpoint.mark(State.KILLED)
    user_stop.heard(host, checkpoint.container_id, "9")
    assert user_stop.will(checkpoint, engine.now) == ""


def test_it_is_noted_before_it_has_ended(
    saved: tuple[Host, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its save may take longer than dockerd is there to say so."""
    host, checkpoint = saved
    engine, ends, waits = _down(monkeypatch), threading.Event(), threading.Event()

    def wait(_: str, *, limit: float) -> None:
        waits.set()
        assert ends.wait(limit)

    monkeypatch.setattr(engine, "wait_until_down", wait)
    hearing = threading.Thread(target=user_stop.heard, args=(host, checkpoint.container_id, "2"))
    hearing.start()
    assert waits.wait(10)
    noted = user_stop.will(checkpoint, engine.now)
    ends.set()
    hearing.join()
    assert noted == user_stop.STOPPED


@pytest.mark.parametrize("number", ["2", ""])
def test_a_start_that_was_refused_is_the_second_half_of_a_restart(
    saved: tuple[Host, Checkpoint], number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for the next dockerd, which has not refused it."""
    host, checkpoint = saved
    engine = _down(monkeypatch, error=f"{gate.REFUSAL}; say guardianctl restore app")
    user_stop.heard(host, checkpoint.container_id, number)
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: _DOCKERD + 1)
    assert user_stop.will(checkpoint, engine.now) == user_stop.RESTARTED


def test_one_that_runs_again_was_not_stopped(
    saved: tuple[Host, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, checkpoint = saved
    engine = _down(monkeypatch)
    engine.now = container(running=True)
    user_stop.heard(host, checkpoint.container_id)
    assert checkpoint.user_stop() == {}


def test_another_dockerd_takes_no_stop_back(
    saved: tuple[Host, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was told to stop it died over it; the next one may have started it, and is not asked."""
    host, checkpoint = saved
    engine = _down(monkeypatch)
    engine.now = container(running=True)

    def dies(_: str, *, limit: float) -> None:
        assert limit > 0
        monkeypatch.setattr(docker_daemon, "running_pid", lambda: _DOCKERD + 1)
        raise StartRefused("dockerd still says that it runs")

    monkeypatch.setattr(engine, "wait_until_down", dies)
    user_stop.heard(host, checkpoint.container_id, "2")
    assert user_stop.will(checkpoint, container(running=False)) == user_stop.STOPPED


def test_a_dockerd_that_ends_is_no_user(
    saved: tuple[Host, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops all its containers, with the same words."""
    host, checkpoint = saved
    _down(monkeypatch)
    monkeypatch.setattr(systemd, "active_state", lambda _: "deactivating")
    user_stop.heard(host, checkpoint.container_id, "2")
    user_stop.heard(host, checkpoint.container_id)
    assert checkpoint.user_stop() == {}
