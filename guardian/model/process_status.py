"""/proc/PID/status: what a process may do."""

from __future__ import annotations

import dataclasses

CAPABILITIES = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL"),
    *("CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE"),
    *("CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER"),
    *("CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT"),
    *("CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME"),
    *("CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL"),
    *("CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM"),
    *("CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"),
)
"""By their numbers (linux/capability.h)."""


@dataclasses.dataclass(frozen=True)
class ProcessStatus:
    """The capabilities in force, by name, and whether a seccomp filter stands over the process."""

    capabilities: frozenset[str]
    filtered: bool


def parse(text: str) -> ProcessStatus:
    """The status in the text of /proc/PID/status; raises ValueError where it has no capabilities."""
    fields = {key: value.strip() for key, _, value in (line.partition(":") for line in text.split("\n"))}
    if "CapEff" not in fields:
        raise ValueError("no capabilities are said")
    mask = int(fields["CapEff"], 16)
    held = frozenset(name for number, name in enumerate(CAPABILITIES) if mask >> number & 1)
    return ProcessStatus(held, filtered=fields.get("Seccomp", "0") != "0")
