"""The kernel of this host: what it has, and what stands over processes."""

from __future__ import annotations

import os
from pathlib import Path

from guardian.model import process_status
from guardian.model.process_status import ProcessStatus

_CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers")
_APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
_SELINUX = Path("/sys/fs/selinux/enforce")


def available_memory() -> int:
    """Bytes that programs can still have without swapping (proc_meminfo(5), MemAvailable)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def release() -> str:
    """Its release, as `uname -r` says it."""
    return os.uname().release


def unified_cgroups() -> bool:
    """Whether the cgroups are of version 2 alone."""
    return _CONTROLLERS.exists()


def status(pid: int) -> ProcessStatus:
    """What a process may do; raises OSError where there is none."""
    return process_status.parse(Path(f"/proc/{pid}/status").read_text(errors="replace"))


def label(pid: int) -> str:
    """The profile that a process is under; raises OSError where there is none."""
    return Path(f"/proc/{pid}/attr/current").read_text(errors="replace").strip("\0\n ")


def apparmor() -> bool:
    """Whether AppArmor is on."""
    return _text(_APPARMOR) == "Y"


def selinux_enforces() -> bool:
    """Whether SELinux is on and enforces."""
    return _text(_SELINUX) == "1"


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
