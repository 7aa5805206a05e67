"""Heals sockets that a killed CRIU left in repair mode: thawed like that, connections die without a word.

Source: tcp(7) TCP_REPAIR, CRIU soccr; measured in the design (CRIU killed in three places, same connections went on).
"""

from __future__ import annotations

import ctypes
import os
import socket

_SYS_PIDFD_GETFD = 438  # the same on every architecture of Linux
_TCP_REPAIR = 19
_libc = ctypes.CDLL(None, use_errno=True)


def switch_off(pids: list[int]) -> int:
    """Take every TCP socket of frozen processes out of repair mode; returns how many were in it."""
    return sum(_of_process(pid) for pid in pids)


def _of_process(pid: int) -> int:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    healed = 0
    try:
        for entry in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{entry}").startswith("socket:"):
                    continue
            except FileNotFoundError:
                continue
            descriptor = _libc.syscall(_SYS_PIDFD_GETFD, process, int(entry), 0)
            if descriptor >= 0:
                healed += _of_socket(descriptor)
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended while we looked: nothing of it is left to heal
    finally:
        os.close(process)
    return healed


def _of_socket(descriptor: int) -> int:
    with socket.socket(fileno=descriptor) as found:
        if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
            return 0
        try:
            if found.getsockopt(socket.IPPROTO_TCP, _TCP_REPAIR) == 0:
                return 0
            found.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 0)
        except OSError:  # a listening socket answers EPERM, and is not in repair mode
            return 0
        return 1
