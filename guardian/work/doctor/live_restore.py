"""live-restore: containers outlive dockerd by themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from guardian.host import docker_daemon
from guardian.host.docker_engine import Engine
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_LIMIT = 10.0


def look(_host: Host) -> Iterator[Finding]:
    """Then a restart of dockerd is none of our business, a reboot is."""
    if not docker_daemon.running_pid():
        return  # said by engine
    with contextlib.closing(Engine(limit=_LIMIT)) as engine:
        on = engine.live_restore()
    if on:
        yield Finding(
            "live-restore",
            Severity.NOTE,
            "dockerd's live-restore is on",
            "when dockerd is restarted containers are left running; they are saved when the host goes down",
            "nothing needs mending",
        )
