"""containerd: whether its shims find guardian's front in their path, and what a killed dockerd has left with it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from guardian.host import paths, proc
from guardian.host.command import CommandFailed, run

_NAME = "containerd"
_LIMIT = 10.0

log = logging.getLogger("guardian.containerd")


def without_front() -> str:
    """Why containers would start without guardian's front; empty where they pass it, or nobody can be asked.

    A shim has its containerd's environment; so it is that process that is looked at, whoever has started it.
    """
    found = [pid for pid in processes() if (path := _path_of(pid)) is not None and not _leads_to_us(path)]
    if not found:
        return ""
    return f"containerd (pid {found[0]}) was started without guardian's runtime in its path: restart it"


def forget_dead_task(container_id: str) -> bool:
    """Away with a task that has ended and that nobody has deleted; returns whether it was one.

    A dockerd that is killed between a container's end and that leaves it, and refuses every start then: "task ...:
    already exists". containerd itself refuses to delete one that runs.
    """
    try:
        run(["ctr", "--namespace", "moby", "tasks", "delete", container_id], limit=_LIMIT)
    except CommandFailed as error:
        log.warning("the task of %s cannot be deleted: %s", container_id[:12], error)
        return False
    return True


def processes() -> list[int]:
    """Every containerd of this PID namespace that a dockerd may use."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            seen = proc.stat(int(entry))
            if seen is not None and seen.name == _NAME:
                found.append(int(entry))
    return found


def _path_of(pid: int) -> str | None:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((item[5:].decode(errors="replace") for item in variables if item.startswith(b"PATH=")), "")


def _leads_to_us(path: str) -> bool:
    return (
        path.split(":", maxsplit=1)[0] == str(paths.FRONT_FOLDER) and (paths.FRONT_FOLDER / "runc").exists()
    )
