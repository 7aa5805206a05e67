"""The worker's side of CRIU's action script: the wait until it says that the image is complete, or why it is not."""

from __future__ import annotations

import os
import select
import socket
import subprocess
from pathlib import Path

from guardian.host import namespace_images, runc
from guardian.model.errors import CannotSave

TOO_LONG = "the dump took longer than"
"""How the reason begins where a dump was ended because it hangs: it would hang again."""
_FAILED = "the dump failed"
"""Where neither CRIU nor runc says why."""
_LITTLE = 64 << 20
"""Bytes of a disk that was full to CRIU, or to the tar that it calls for tmpfs, which says nothing but "status=2".

More than a full disk has: another dump may have failed of the same and given its room back.
"""


def await_image(
    process: subprocess.Popen[bytes], listening: socket.socket, work: Path, *, limit: float
) -> socket.socket:
    """Wait for the script of a `runc checkpoint`; returns its connection, on which it waits for the verdict.

    Raises CannotSave with CRIU's own reason, from its log in `work`.
    """
    ended = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(listening, select.POLLIN)
        poller.register(ended, select.POLLIN)
        ready = dict(poller.poll(limit * 1000))
        if listening.fileno() in ready:
            asking, _ = listening.accept()
            if asking.recv(16) == b"dumped\n":
                return _looked_at(asking, work.parent / "img")
            asking.close()
        if not ready:
            raise CannotSave(f"{TOO_LONG} {limit:.0f} s")
        raise CannotSave(why(work, _FAILED))
    finally:
        os.close(ended)


def _looked_at(asking: socket.socket, images: Path) -> socket.socket:
    """The connection, where the images are whole; else the script hears nothing, and CRIU rolls back."""
    try:
        broken = namespace_images.first_broken(images)
    except OSError as error:
        asking.close()
        raise CannotSave("its images cannot be read", str(error)) from error
    if broken:
        asking.close()
        raise CannotSave("the store was full during the dump", f"{broken} is cut short")
    return asking


def why(work: Path, otherwise: str) -> str:
    """Why a dump failed, as CRIU or runc says; `otherwise` where they do not. On a full disk logs break off."""
    said = runc.first_error(work / "dump.log") or _last_line(work / "runc.log") or otherwise
    if "No space" in said:
        return said
    try:
        found = os.statvfs(work)
    except OSError:
        return said
    free = found.f_bfree * found.f_frsize
    return f"{said}, no space in the store but {free >> 20} MiB" if free < _LITTLE else said


_KILLED = "killed by signal"
"""What CRIU says of its script (criu/util.c) and of what it was restoring."""


def was_killed(log: Path, reason: str) -> bool:
    """Whether a dump ended without an error of CRIU's own: it was killed, or runc or its script was. That may pass.

    By the `reason` where runc was killed: its CRIU finds out later, and that is an error then.
    """
    error = runc.first_error(log)
    return reason.startswith(_FAILED) or (os.access(log, os.F_OK) and (not error or _KILLED in error))


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][-300:] if lines else ""
