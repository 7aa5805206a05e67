"""Steps of a move as both hosts' disks show them, and faults that strike when a step is reached.

The disks are looked at from outside, every millisecond or two: what runs there does not notice.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.host.lab import Lab
from tests.host.site import Site
from tests.machines.local import LocalMachine
from tests.machines.nspawn import ContainerHost

STORE = "var/lib/guardian/checkpoints"
FILLER = "/var/lib/guardian/filler"


def store(site: Site) -> Path:
    """A host's store, seen from outside."""
    machine = site.machine
    assert isinstance(machine, ContainerHost)
    return Path(f"/proc/{machine.init}/root/{STORE}")


Place = tuple[str, str]
"""Which host's store, and a pattern of what is there once the step is reached."""

STEPS: Mapping[str, Place] = {
    "offered": ("two", ".arrivals/*/lock"),
    "made there": ("two", ".arrivals/*/made.json"),
    "standing still": ("one", "*/*/ledger/locked"),
    "dumped": ("one", "*/*/ledger/held"),
    "images arrive": ("two", ".arrivals/*/staging/*/checkpoint/*.img"),
    "checkpoint there": ("two", "*/*/ledger/killed"),
    "starting there": ("two", "*/*/ledger/ticketed"),
    "restoring": ("two", "*/*/ledger/restoring"),
    "proven": ("two", "*/*/ledger/proven"),
    "voted": ("two", ".arrivals/*/voted"),
    "committed": ("one", ".moves/*/verdict"),
    "arrived": ("two", "*/*/ledger/arrived"),
    "spent": ("two", "*/*/ledger/spent"),
    "done": ("one", ".moves/*/closed"),
}


def reached(lab: Lab, step: str, *, limit: float) -> bool:
    """Wait until a step is reached; False where it was not within `limit` seconds."""
    where, pattern = STEPS[step]
    folder = store(lab.one if where == "one" else lab.two)
    end = time.monotonic() + limit
    while not any(folder.glob(pattern)):
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def processes(machine: LocalMachine, *words: str) -> Iterator[int]:
    """The processes of a host (by their ids out here) whose command line has all these words."""
    assert isinstance(machine, ContainerHost)
    own = os.stat(f"/proc/{machine.init}/ns/pid").st_ino
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            argv = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace").split("\0")
            inside = os.stat(f"/proc/{entry}/ns/pid").st_ino == own
        except OSError:
            continue
        if inside and all(any(word in part for part in argv) for word in words):
            yield int(entry)


def _kill(machine: LocalMachine, *words: str) -> None:
    for pid in list(processes(machine, *words)):
        os.kill(pid, signal.SIGKILL)


def _fill(machine: LocalMachine) -> None:
    """Nothing can be written on the disk of a host any more."""
    assert isinstance(machine, ContainerHost)
    path = Path(f"/proc/{machine.init}/root{FILLER}")
    with path.open("wb", buffering=0) as file:
        size = 1 << 30
        while size >= 4096:
            at = file.seek(0, os.SEEK_END)
            try:
                os.posix_fallocate(file.fileno(), at, size)
            except OSError:
                size //= 2


@dataclasses.dataclass(frozen=True)
class Fault:
    """What strikes. `host_dies`: memory that was not written down is lost, as without guardian."""

    strike: Callable[[Lab], None]
    host_dies: str = ""


FAULTS: Mapping[str, Fault] = {
    "link cut": Fault(lambda lab: _kill(lab.one.machine, "ssh", "receive")),
    "guardianctl killed": Fault(lambda lab: _kill(lab.one.machine, "guardianctl", "migrate")),
    "worker killed": Fault(lambda lab: _kill(lab.one.machine, "docker-guardian/worker")),
    "receive killed there": Fault(lambda lab: _kill(lab.two.machine, "guardianctl", "receive")),
    "worker killed there": Fault(lambda lab: _kill(lab.two.machine, "docker-guardian/worker")),
    "disk full there": Fault(lambda lab: _fill(lab.two.machine)),
    "source crashes": Fault(lambda lab: lab.one.machine.crash(), "one"),
    "target crashes": Fault(lambda lab: lab.two.machine.crash(), "two"),
}
