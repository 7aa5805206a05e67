"""Capabilities of those below which CRIU runs."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import kernel
from guardian.model.finding import Finding, Severity
from guardian.work.doctor.runners import runners
from guardian.work.host import Host

_NEEDED = {
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_MKNOD", "CAP_SETGID", "CAP_SETUID"),
    *("CAP_SETPCAP", "CAP_SYS_CHROOT", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NET_ADMIN"),
}
_WANTED = {
    "CAP_SYS_RESOURCE": "containers with processes of other users than root cannot be saved (Can't get rlimit)",
    "CAP_CHECKPOINT_RESTORE": "CRIU restores processes by a slower way, or not at all",
    "CAP_NET_RAW": "containers with raw or packet sockets cannot be restored",
    "CAP_AUDIT_WRITE": "containers that were given it cannot be restored",
    "CAP_SETFCAP": "containers that were given it cannot be restored",
}
_CURE = "remove CapabilityBoundingSet= from the unit; a host that is itself a container has to be given it"


def look(_host: Host) -> Iterator[Finding]:
    """What CRIU cannot do without, and what some containers cannot."""
    lacking: dict[str, list[str]] = {}
    for pid, name in runners().items():
        for capability in sorted((_NEEDED | _WANTED.keys()) - kernel.status(pid).capabilities):
            lacking.setdefault(capability, []).append(name)
    for capability, names in lacking.items():
        yield Finding(
            "capabilities",
            Severity.ERROR if capability in _NEEDED else Severity.WARNING,
            f"{capability} is missing ({', '.join(names)})",
            _WANTED.get(capability, "CRIU cannot work without it"),
            _CURE,
        )
