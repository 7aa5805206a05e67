"""What a machine consists of on this computer, written down so that it can be removed whoever is left to do it.

Each machine and each network has a folder `run/NAME` in the cache with a file `record.json`. Its owner removes it
at the end of the block, at the exit of Python, on Ctrl-C, SIGTERM and SIGHUP; what a killed owner left is removed by
the next machine that is made or by `python3 -m tests.machines clean`.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import cache, cgroups, disk
from .commands import interrupts_later, run, wait_until
from .errors import MachineError

SLOTS = 250
LOCK = "run"
NUMBER = re.compile(r"^[a-z]+(\d+)")


@dataclass(frozen=True)
class Process:
    """A process that is not mistaken for another one with the same id later."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process with that id now. Raises `ProcessLookupError`."""
        return cls(pid, _state(pid)[1])

    @property
    def is_alive(self) -> bool:
        """Whether it is still there (a zombie is not)."""
        try:
            state, started = _state(self.pid)
        except ProcessLookupError:
            return False
        return started == self.started and state != "Z"

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


def _state(pid: int) -> tuple[str, int]:
    """The state of a process and when it began. Raises `ProcessLookupError`."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(pid) from None
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])


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
            taken = {int(digits) for path in _folders() for digits in NUMBER.findall(path.name)}
            slot = next((number for number in range(1, SLOTS) if number not in taken), None)
            if slot is None:
                raise MachineError("too many test machines at once")
            record = cls(f"{kind}{slot}{_suffix()}", slot, Process.of(os.getpid()))
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


def _folders() -> list[Path]:
    return list(cache.folder("run").iterdir())


def _suffix() -> str:
    """What tells our names from those of runs with another cache: cgroups and nspawn know only the name."""
    path = str(cache.folder())
    return "" if path == cache.DEFAULT else f"-{cache.digest(path)[:4]}"


def _read(folder: Path) -> Record | None:
    try:
        content = json.loads((folder / "record.json").read_text())
    except FileNotFoundError:
        return None
    content["owner"] = Process(**content["owner"])
    content["processes"] = [Process(**process) for process in content["processes"]]
    return Record(**content)


def remove_dead() -> list[str]:
    """Remove what runs left whose process is gone; the names removed."""
    removed = []
    with cache.lock(LOCK):
        for folder in _folders():
            record = _read(folder)
            if record is None:  # about to be removed by its owner, or by one that was killed while it did so
                cache.remove_tree(folder)
            elif not record.owner.is_alive:
                record.remove()
                removed.append(record.name)
    return removed


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
