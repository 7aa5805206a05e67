"""systemd, through pystemd: is the host on its way down, is dockerd's process there."""

from __future__ import annotations

import os
import socket

from pystemd.systemd1 import Manager, Unit  # type: ignore[import-untyped,unused-ignore]

_GOING_DOWN = {b"shutdown.target", b"reboot.target", b"poweroff.target", b"halt.target", b"kexec.target",
               b"soft-reboot.target", b"rescue.target", b"emergency.target"}  # fmt: skip


def going_down() -> bool:
    """Whether a job is queued that takes the host (or all its services) down."""
    with Manager(_autoload=True) as manager:
        jobs = manager.Manager.ListJobs()
    return any(job[1] in _GOING_DOWN and job[2] == b"start" for job in jobs)


def main_pid(unit: str) -> int:
    """The main process of a service, 0 where it has none."""
    with Unit(unit.encode(), _autoload=True) as service:
        return int(service.Service.MainPID)


def notify(text: str) -> None:
    """Tell systemd something (sd_notify(3)); nothing where it does not listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.connect("\0" + address[1:] if address.startswith("@") else address)
        sending.sendall(text.encode())


def active_state(unit: str) -> str:
    """systemd's ActiveState of a unit."""
    with Unit(unit.encode(), _autoload=True) as found:
        return str(found.Unit.ActiveState.decode())
