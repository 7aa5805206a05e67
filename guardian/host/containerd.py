"""containerd: whether the shims it starts find guardian's front in their path."""

from __future__ import annotations

import os
from pathlib import Path

from guardian.host import paths, proc

_NAME = "containerd"


def without_front() -> str:
    """Why containers would start without guardian's front; empty where they pass it, or nobody can be asked.

    A shim has its containerd's environment; so it is that process that is looked at, whoever has started it.
    """
    found = [pid for pid in processes() if (path := _path_of(pid)) is not None and not _leads_to_us(path)]
    if not found:
        return ""
    return f"containerd (pid {found[0]}) was started without guardian's runtime in its path: restart it"


def processes() -> list[int]:
    """Every containerd of this PID namespace that a dockerd may use."""
    own = proc.inode("/proc/self/ns/pid")
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            seen = proc.stat(int(entry))
            # Those of containers (dind) are in namespaces of their own.
            if seen is not None and seen.name == _NAME and _namespace(entry, own) == own:
                found.append(int(entry))
    return found


def _namespace(pid: str, otherwise: int) -> int:
    try:
        return proc.inode(f"/proc/{pid}/ns/pid")
    except OSError:  # only root may look
        return otherwise


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
