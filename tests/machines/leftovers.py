"""What a machine consists of on this computer, written down so that it can be removed whoever is left to do it.

Each machine and each network has a folder `run/NAME` in the cache with a file `record.json`. Its owner removes it
at the end of the block, at the exit of Python, on Ctrl-C, SIGTERM and SIGHUP; what a killed owner left is removed by
the next machine that is made or by `python3 -m tests.machines clean`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import cache, cgroups, disk
from .commands import interrupts_later, run, wait_until
from .errors import MachineError

SLOTS = 250
LOCK = "run"


@dataclass(frozen=True)
class Process:
    """A process that is not mistaken for another one with the same id later."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process with that id now. Raises `ProcessLookupError`."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            raise ProcessLookupError(pid) from None
        fields = stat.rpartition(")")[2].split()
        if fields[0] == "Z":
            raise ProcessLookupError(pid)
        return cls(pid, int(fields[19]))

    @property
    def is_alive(self) -> bool:
        """Whether it is still there (a zombie is not)."""
        try:
            return Process.of(self.pid) == self
        except ProcessLookupError:
            return False

    def kill(self) -> None:
        """SIGKILL it if it is still there, and wait until it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.is_alive:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)
        wait_until(lambda: not self.is_alive, timeout=30, what=f"process {self.pid} ended")


@dataclass
class Record:
    """One folder `run/NAME` and what belongs to it."""

    name: str
    slot: int
    owner: Process
    processes: list[Process] = field(default_factory=list)
    cgroups: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where everything lies; removed with the record."""
        return cache.folder("run") / self.name

    @classmethod
    def new(cls, kind: str) -> Record:
        """A record with a name and number that no other live one has. Raises `MachineError` when all are taken."""
        remove_dead()
        with interrupts_later(), cache.lock(LOCK):
            taken = {record.slot for record in _all()}
            slot = next((number for number in range(1, SLOTS) if number not in taken), None)
            if slot is None:
                raise MachineError("too many test machines at once")
            record = cls(f"{kind}{slot}", slot, Process.of(os.getpid()))
            record.folder.mkdir(mode=0o700)
            record.save()
            _ours.append(record)
        return record

    def save(self) -> None:
        """Write the record down."""
        new = self.folder / "record.json.new"
        new.write_text(json.dumps(asdict(self)))
        new.rename(self.folder / "record.json")

    def add_process(self, pid: int) -> Process:
        """Note a process that must not outlive the record. Raises `ProcessLookupError`."""
        process = Process.of(pid)
        self.processes = [known for known in self.processes if known.is_alive] + [process]
        self.save()
        return process

    def add_cgroups(self, *paths: Path) -> None:
        """Note cgroups to be removed with all processes in them."""
        self.cgroups += map(str, paths)
        self.save()

    def add_folder(self, path: Path) -> None:
        """Note a folder elsewhere to be removed with all that is in it."""
        self.folders.append(str(path))
        self.save()

    def remove(self) -> None:
        """End the processes, then remove cgroups, mounts and folders. Can be repeated."""
        for process in self.processes:
            process.kill()
        for cgroup in self.cgroups:
            cgroups.remove(Path(cgroup))
        for folder in [*map(Path, self.folders), self.folder]:
            if folder.exists():
                unmount_below(folder)
                disk.wait_until_detached(folder)
                cache.remove_tree(folder)
        if self in _ours:
            _ours.remove(self)


_ours: list[Record] = []


def _all() -> Iterator[Record]:
    for path in cache.folder("run").glob("*/record.json"):
        with contextlib.suppress(FileNotFoundError):
            content = json.loads(path.read_text())
            content["owner"] = Process(**content["owner"])
            content["processes"] = [Process(**process) for process in content["processes"]]
            yield Record(**content)


def remove_dead() -> list[str]:
    """Remove what runs left whose process is gone; the names removed."""
    with cache.lock(LOCK):
        dead = [record for record in _all() if not record.owner.is_alive]
        for record in dead:
            record.remove()
        return [record.name for record in dead]


def unmount_below(folder: Path) -> None:
    """Unmount everything that is mounted on or below a folder."""
    resolved = folder.resolve()
    points = [
        Path(line.split()[4].encode().decode("unicode_escape"))
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
    ]
    for point in reversed(points):
        if point == resolved or resolved in point.parents:
            run(["umount", "--", str(point)], timeout=30)


@atexit.register
def _remove_ours() -> None:
    for record in reversed(_ours.copy()):
        if record.owner.pid == os.getpid():
            record.remove()
