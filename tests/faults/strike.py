"""How each fault strikes, and how an administrator undoes what only an administrator can undo."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

from tests.faults.bench import Bench
from tests.faults.host import STORE, processes
from tests.faults.steps import FAULTS, Cell, Strike
from tests.machines import disk
from tests.machines.errors import MachineError

FILLER = "filler"
_END_LIMIT = 10.0
_NAMES = {"script": ("commit",), "criu": ("criu", "criu.real"), "runc": ("runc",)}
"""The names of the processes that work on one checkpoint, which their environment names."""


def victims(bench: Bench, process: str, checkpoint: str) -> list[int]:
    """The processes to be struck: of all with the name those that work on this checkpoint."""
    if process not in _NAMES:
        return processes(bench.host, process)
    end = f"/{checkpoint}".encode()
    found = []
    for name in _NAMES[process]:
        for pid in processes(bench.host, name):
            words = _environment(pid)
            if any(word.startswith(b"GUARDIAN_CHECKPOINT=") and word.endswith(end) for word in words):
                found.append(pid)
    return found


def strike(bench: Bench, cell: Cell, checkpoint: str) -> None:
    """Let the fault strike; raises MachineError where there is nobody to be struck."""
    fault = FAULTS[cell.fault]
    if fault.process:
        pids = victims(bench, fault.process, checkpoint)
        if not pids:
            raise MachineError(f"no {fault.process} to be struck")
        for pid in pids:
            _signal(pid, signal.SIGKILL if fault.strikes is Strike.KILL else signal.SIGSTOP)
    elif fault.strikes is Strike.CRASH:
        bench.host.crash()
    elif fault.strikes is Strike.UPS:
        time.sleep(15)  # the step lasts that long
    elif fault.strikes is Strike.FULL:
        fill(bench.host.store)
    elif fault.strikes is Strike.READ_ONLY:
        # What ext4 does to itself after an error (errors=remount-ro), whoever has files open for writing.
        bench.host.succeed(f"mount -o remount,abort /{STORE}")
    elif fault.strikes is Strike.BROKEN:
        disk.cut_power(bench.host.store)


def _signal(pid: int, number: signal.Signals) -> None:
    """Send it; one that is killed has ended when this returns, or the step would go on beside its end."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, number)
        if number is signal.SIGKILL and not select.select([descriptor], [], [], _END_LIMIT)[0]:
            raise MachineError(f"process {pid} does not end")
    finally:
        os.close(descriptor)


def fill(folder: Path) -> None:
    """Nothing can be written there any more."""
    with (folder / FILLER).open("wb", buffering=0) as file:
        size = 1 << 30
        while size >= 4096:
            try:
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
            except OSError:
                size //= 2


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # it has ended
