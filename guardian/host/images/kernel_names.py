"""Numbers of the kernel's as names: capabilities, signals, flags, states."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable, Sequence

_CAPABILITIES = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *(
        "linux_immutable",
        "net_bind_service",
        "net_broadcast",
        "net_admin",
        "net_raw",
        "ipc_lock",
        "ipc_owner",
    ),
    *(
        "sys_module",
        "sys_rawio",
        "sys_chroot",
        "sys_ptrace",
        "sys_pacct",
        "sys_admin",
        "sys_boot",
        "sys_nice",
    ),
    *(
        "sys_resource",
        "sys_time",
        "sys_tty_config",
        "mknod",
        "lease",
        "audit_write",
        "audit_control",
        "setfcap",
    ),
    *("mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf"),
    "checkpoint_restore",
)
"""include/uapi/linux/capability.h, by number."""
_TCP_STATES = (
    *("", "established", "syn-sent", "syn-received", "fin-wait-1", "fin-wait-2", "time-wait", "close"),
    *("close-wait", "last-ack", "listening", "closing", "syn-received"),
)
"""include/net/tcp_states.h, by number; sockets of other kinds use the same numbers."""
_OPEN_FLAGS = (
    *("O_CREAT", "O_EXCL", "O_NOCTTY", "O_TRUNC", "O_APPEND", "O_NONBLOCK", "O_DSYNC", "O_ASYNC", "O_DIRECT"),
    *("O_DIRECTORY", "O_NOFOLLOW", "O_NOATIME", "O_PATH"),
)
_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_RDONLY")
_POLICIES = ("other", "fifo", "rr", "batch", "iso", "idle", "deadline")
_MOUNT_FLAGS = {
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "mand": 64,
    "dirsync": 128,
    "noatime": 1 << 10,
    "nodiratime": 1 << 11,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
}
"""include/uapi/linux/mount.h, MS_*."""
_LIMITS = (
    *("cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks"),
    *("sigpending", "msgqueue", "nice", "rtprio", "rttime"),
)
"""include/uapi/asm-generic/resource.h, by number."""


def _at(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


def capabilities(words: Iterable[int]) -> tuple[str, ...]:
    """The names in a set of capabilities given as 32-bit words."""
    bits = sum(int(word) << 32 * place for place, word in enumerate(words))
    return tuple(_at(_CAPABILITIES, number) for number in range(bits.bit_length()) if bits >> number & 1)


def signal_name(number: int) -> str:
    """SIGTERM, SIGRTMIN+3; the number where there is no such signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        known = signal.SIGRTMIN <= number <= signal.SIGRTMAX
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if known else str(number)


def signals(mask: int) -> tuple[str, ...]:
    """The names in a set of signals."""
    return tuple(signal_name(place + 1) for place in range(min(mask.bit_length(), 64)) if mask >> place & 1)


def open_flags(flags: int) -> tuple[str, ...]:
    """The names of flags of open(2)."""
    access = _ACCESS[flags & os.O_ACCMODE]
    asynchronous = {"O_ASYNC": os.O_ASYNC}
    rest = (name for name in _OPEN_FLAGS if flags & asynchronous.get(name, getattr(os, name, 0)))
    return (access, *rest)


def mount_flags(flags: int) -> tuple[str, ...]:
    """The names of flags of mount(2) that /proc/PID/mountinfo shows."""
    return tuple(name for name, bit in _MOUNT_FLAGS.items() if flags & bit)


def socket_state(number: int) -> str:
    """A socket's state."""
    return _at(_TCP_STATES, number)


def socket_type(number: int) -> str:
    """stream, dgram, ..."""
    try:
        return socket.SocketKind(number).name.removeprefix("SOCK_").lower()
    except ValueError:
        return str(number)


def policy(number: int) -> str:
    """A scheduling policy."""
    return _at(_POLICIES, number)


def limit_name(number: int) -> str:
    """A resource limit."""
    return _at(_LIMITS, number)


def protection(bits: int, *, shared: bool) -> str:
    """rwxp, as /proc/PID/maps has it."""
    read, write, execute = bits & 1, bits & 2, bits & 4
    return f"{'r' if read else '-'}{'w' if write else '-'}{'x' if execute else '-'}{'s' if shared else 'p'}"
