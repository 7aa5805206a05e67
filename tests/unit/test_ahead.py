"""Memory is written ahead or it is not: whatever goes wrong, the container goes on and the dump is a full one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guardian.host import chain, criu_features, proc, runc
from guardian.host.checkpoint import Checkpoint
from guardian.host.runc import RuncContainer
from guardian.host.space import Room
from guardian.model import steps
from guardian.model.config import from_mapping
from guardian.work.ahead import NO_TRACKING, Ahead, Means, write_ahead
from guardian.work.host import Budget, Host
from guardian.work.slots import Slots
from tests.unit.samples import container, id_of

_GOOD = "echo pages >$IMAGES/pages-1.img; echo stats >$WORK/stats-dump"
_HANGS = f"{_GOOD}; $CRIU 600 & echo 1 >$FREEZE; wait"


class Bench:
    """One container, and a program in the place of `runc checkpoint --pre-dump`."""

    def __init__(self, store: Path) -> None:
        self.cgroup = store / "cgroup"
        self.cgroup.mkdir()
        (self.cgroup / "cgroup.freeze").write_text("0")
        self.checkpoint = Checkpoint(store / id_of("app") / "one")
        for name in ("img", "work", "ledger"):
            (self.checkpoint.folder / name).mkdir(parents=True)
        self.criu = store / "criu"
        shutil.copy("/bin/sleep", self.criu)
        self.scripts = [_GOOD]
        self.said: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.host = Host.of(from_mapping({"store": {"path": str(store), "reserve": "0"}}, source="test"))

    def known(self, _id: str) -> RuncContainer:
        return RuncContainer(
            Path(), os.getpid(), self.cgroup, Path(), network_is_path=False, own_network=True
        )

    def start(
        self, _known: RuncContainer, _id: str, checkpoint: Path, number: int
    ) -> subprocess.Popen[bytes]:
        environment = {
            "IMAGES": str(checkpoint / "img" / steps.name(number)),
            "WORK": str(checkpoint / "work" / steps.name(number)),
            "FREEZE": str(self.cgroup / "cgroup.freeze"),
            "CRIU": str(self.criu),
            "GUARDIAN_CHECKPOINT": str(checkpoint),
        }
        script = self.scripts[min(number, len(self.scripts)) - 1]
        self.processes.append(subprocess.Popen(["/bin/sh", "-c", script], env=environment))
        return self.processes[-1]

    def write(
        self, count: int = 2, *, seconds: float = 60.0, hurried: bool = False, size: int = 0, **facts: Any
    ) -> str:
        """What is said; the first quarter of the time is for it where it is `hurried`, else the half."""
        item = Ahead(container(**facts), self.checkpoint, count, size, ())
        room = Room(self.host.config, self.host.ledger)
        write_ahead(Means(self.host, Budget(seconds), Slots(1), room, hurried), [item], self.said.append)
        return "".join(self.said)

    def left(self) -> list[str]:
        """The folders of the steps that are there, and what the dump would build upon."""
        names = [folder.name for folder in chain.folders(self.checkpoint.folder / "img")[1:]]
        return [*names, str(chain.noted(self.checkpoint.folder))]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path)
    monkeypatch.setattr(runc, "state", made.known)
    monkeypatch.setattr(runc, "start_pre_dump", made.start)
    monkeypatch.setattr(criu_features, "tracks_memory", lambda: True)
    yield made
    assert all(process.returncode is not None for process in made.processes)


def test_every_step_is_written(bench: Bench) -> None:
    assert bench.write(2) == ""
    assert bench.left() == ["pre-1", "pre-2", "2"]
    for name in ("pre-1", "pre-2"):
        assert (bench.checkpoint.folder / "img" / name).stat().st_mode & 0o777 == 0o700


def test_none_is_asked_for(bench: Bench) -> None:
    assert bench.write(0) == ""
    assert bench.left() == ["0"]
    assert bench.processes == []


@pytest.mark.parametrize("bad", ["exit 1", "exit 0", f"{_GOOD}; exit 3"])
def test_a_step_that_fails_costs_all_of_them(bench: Bench, bad: str) -> None:
    """It may have forgotten what had changed since the one before it."""
    bench.scripts = [_GOOD, f"echo 1 >$FREEZE; {bad}"]
    assert "app: nothing is written ahead: " in bench.write(3)
    assert bench.left() == ["0"]
    assert len(bench.processes) == 2
    assert (bench.cgroup / "cgroup.freeze").read_text() == "0", "a container that CRIU left frozen goes on"


def test_why_it_failed_is_said(bench: Bench) -> None:
    error = "(00.1) Error (criu/mem.c:1): no pages today"
    bench.scripts = [f"echo '{error}' >$WORK/dump.log; exit 1"]
    assert bench.write() == "app: nothing is written ahead: Error (criu/mem.c:1): no pages today"


def test_one_that_hangs_is_ended(bench: Bench) -> None:
    bench.scripts = [_HANGS]
    assert bench.write(seconds=3.0) == "app: nothing is written ahead: it took longer than 1 s"
    assert bench.left() == ["0"]
    assert (bench.cgroup / "cgroup.freeze").read_text() == "0"
    assert not [pid for pid, words in proc.command_lines() if words and words[0] == str(bench.criu).encode()]


def test_a_user_who_has_paused_it_keeps_it_paused(bench: Bench) -> None:
    (bench.cgroup / "cgroup.freeze").write_text("1")
    assert "it is paused" in bench.write(paused=True)
    assert (bench.cgroup / "cgroup.freeze").read_text() == "1"
    assert bench.processes == []


def test_a_kernel_that_cannot(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(criu_features, "tracks_memory", lambda: False)
    assert bench.write() == f"app: nothing is written ahead: {NO_TRACKING}"
    assert bench.processes == []


@pytest.mark.parametrize(
    ("hurried", "begun"),
    [(True, False), (False, True)],
)
def test_time_is_short(bench: Bench, *, hurried: bool, begun: bool) -> None:
    """A minute's worth of memory, a minute for everything: on the way down it is left out."""
    said = bench.write(1, hurried=hurried, size=15 * steps.SLOWEST + 1)
    assert (said == "") is begun
    assert ("too little time" in said) is not begun


def test_room_is_short(bench: Bench) -> None:
    assert "too little room" in bench.write(size=1 << 60)
    assert bench.processes == []


def test_there_is_no_time_at_all(bench: Bench) -> None:
    assert "too little time" in bench.write(seconds=0.0)
    assert bench.left() == ["0"]


def test_criu_is_found_by_its_title(bench: Bench) -> None:
    """It writes one over its arguments and, in 4.1, over its environment."""
    title = f"criu: pre-dump --rpc -t 1 -D {bench.checkpoint.folder}/img/pre-1"
    with subprocess.Popen([title, "600"], executable=bench.criu, env={}) as process:
        try:
            found = runc.criu_of(bench.checkpoint.folder)
            other = runc.criu_of(bench.checkpoint.folder.with_name("on"))
        finally:
            process.kill()
    assert (found, other) == ([process.pid], [])
