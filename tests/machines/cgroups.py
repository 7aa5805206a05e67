"""Control groups of this computer that a host runs in."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .commands import wait_until
from .errors import MachineError, TimedOut

EMPTY_TIMEOUT = 30.0
FREEZE_TIMEOUT = 2.0


def mounts() -> list[Path]:
    """Where hierarchies of cgroups are mounted, the one of version 2 first. Raises `MachineError` without that."""
    found: dict[str, list[Path]] = {"cgroup2": [], "cgroup": []}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        found.get(fields[fields.index("-") + 1], []).append(Path(fields[4]))
    if not found["cgroup2"]:
        raise MachineError("no cgroup2 mounted on this machine")
    return found["cgroup2"] + found["cgroup"]


def remove(path: Path) -> None:
    """Kill what is in a cgroup and below, and remove it. Does nothing when it is not there.

    In a hierarchy of version 1 it has to be empty.
    """
    if not path.exists():
        return
    if (path / "cgroup.kill").exists():
        (path / "cgroup.kill").write_text("1")
        events = path / "cgroup.events"
        wait_until(lambda: "populated 0" in events.read_text(), timeout=EMPTY_TIMEOUT, what=f"{path} empty")
    for folder, _, _ in os.walk(path, topdown=False):
        Path(folder).rmdir()


def freeze(path: Path) -> None:
    """Stop every process in a cgroup and below, as far as it can be stopped (one that waits for a disk cannot)."""
    (path / "cgroup.freeze").write_text("1")
    events = path / "cgroup.events"
    with contextlib.suppress(TimedOut):
        wait_until(
            lambda: "frozen 1" in events.read_text(),
            timeout=FREEZE_TIMEOUT,
            what=f"{path} frozen",
            every=0.001,
        )


def processes(path: Path) -> str:
    """A line for each process in a cgroup and below: where it is, what it is, and what it waits for."""
    lines = []
    for folder, _, _ in os.walk(path):
        for pid in (Path(folder) / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                lines.append(f"{Path(folder).relative_to(path)}: {_process(Path('/proc') / pid)}")
        with contextlib.suppress(OSError):
            if "frozen 1" in (Path(folder) / "cgroup.events").read_text():
                lines.append(f"{Path(folder).relative_to(path)}: is frozen")
    return "\n".join(lines)


def _process(folder: Path) -> str:
    status = dict(line.partition(":\t")[::2] for line in (folder / "status").read_text().splitlines())
    words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    signals = f"blocks {status.get('SigBlk')}, ignores {status.get('SigIgn')}, pending {status.get('ShdPnd')}"
    stack = " ".join(line.split()[-1] for line in (folder / "stack").read_text().splitlines()[:6])
    return f"{folder.name} {status['Name']} [{words[:120]}] {status['State']}; {signals}; {stack}"
