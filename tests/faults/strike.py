"""How each fault strikes, and how an administrator undoes what only an administrator can undo."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.faults.bench import Bench
from tests.faults.host import processes
from tests.faults.steps import FAULTS, Cell
from tests.machines.errors import MachineError

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
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
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
            os.kill(pid, signal.SIGKILL)
    elif cell.fault == "crash":
        bench.host.crash()
