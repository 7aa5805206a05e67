"""systemd, through pystemd: is the host on its way down, what is a unit doing. What people are told: by systemctl.

Of pystemd only the bus is used: its `Manager(_autoload=True)` and `Unit(...)` make new classes from introspection at
each call and keep them (measured: 2 MB each, pystemd 0.13.2).
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import Any

from pystemd.dbuslib import DBus, path_encode

from guardian.host.command import run

_SHOW_LIMIT = 10.0
_SYSTEMD = b"org.freedesktop.systemd1"
_GOING_DOWN = {
    b"shutdown.target",
    b"reboot.target",
    b"poweroff.target",
    b"halt.target",
    b"kexec.target",
    b"soft-reboot.target",
    b"rescue.target",
    b"emergency.target",
}


def going_down() -> bool:
    """Whether a job is queued that takes the host (or all its services) down."""
    with DBus() as bus:
        jobs = bus.call_method(
            _SYSTEMD, b"/org/freedesktop/systemd1", _SYSTEMD + b".Manager", b"ListJobs", []
        ).body
    return any(job[1] in _GOING_DOWN and job[2] == b"start" for job in jobs)


def main_pid(unit: str) -> int:
    """The main process of a service, 0 where it has none."""
    return int(_property(unit, b"Service", b"MainPID", b"u"))


def start_times(unit: str) -> tuple[float, float]:
    """Wall-clock seconds at which the main process of a service was started, and at which it was ready."""
    begun = int(_property(unit, b"Service", b"ExecMainStartTimestamp", b"t"))
    ready = int(_property(unit, b"Unit", b"ActiveEnterTimestamp", b"t"))
    return begun / 1e6, ready / 1e6


def active_state(unit: str) -> str:
    """systemd's ActiveState of a unit."""
    state: bytes = _property(unit, b"Unit", b"ActiveState", b"s")
    return state.decode()


def shown(unit: str, *properties: str) -> dict[str, str]:
    """Properties of a unit as `systemctl show` writes them; raises CommandFailed."""
    text = run(["systemctl", "show", unit, f"--property={','.join(properties)}"], limit=_SHOW_LIMIT).output
    return {key: value for key, _, value in (line.partition("=") for line in text.splitlines())}


def _property(unit: str, interface: bytes, name: bytes, kind: bytes) -> Any:
    path = path_encode(b"/org/freedesktop/systemd1/unit", unit.encode())
    with DBus() as bus:
        return bus.get_property(_SYSTEMD, path, _SYSTEMD + b"." + interface, name, kind)


def notify(text: str) -> None:
    """Tell systemd something (sd_notify(3)); nothing where it does not listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.connect("\0" + address[1:] if address.startswith("@") else address)
        sending.sendall(text.encode())


def show_life() -> None:
    """Tell systemd as often as the unit's WatchdogSec= asks that this process runs; nothing where it does not."""
    seconds = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    if not seconds:
        return

    def tell() -> None:
        never = threading.Event()
        while not never.wait(seconds / 4):
            with contextlib.suppress(OSError):  # systemd is being exchanged: the next word is in time
                notify("WATCHDOG=1")

    threading.Thread(target=tell, name="watchdog", daemon=True).start()
