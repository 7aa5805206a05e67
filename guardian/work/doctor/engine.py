"""dockerd: whether it is up and answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from guardian.host import docker_daemon
from guardian.host.docker_engine import Engine
from guardian.model.errors import EngineUnavailable
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_LIMIT = 10.0


def look(_host: Host) -> Iterator[Finding]:
    """The process, its answer, and whether it would start again."""
    if not docker_daemon.running_pid():
        yield Finding(
            "engine",
            Severity.WARNING,
            "docker.service does not run",
            "what waits to be restored waits until it does",
            "systemctl start docker; journalctl -u docker says why it does not",
        )
    else:
        try:
            with contextlib.closing(Engine(limit=_LIMIT)) as engine:
                engine.described()
        except EngineUnavailable as error:
            yield Finding(
                "engine",
                Severity.ERROR,
                str(error),
                "nothing can be restored; what is guarded is saved all the same when the host goes down",
                "journalctl -u docker; a dockerd that hangs has to be restarted",
            )
    invalid = docker_daemon.invalid()
    if invalid:
        yield Finding(
            "engine",
            Severity.ERROR,
            f"dockerd would not start again: {invalid}",
            "what is saved at its next stop cannot be restored before it starts",
            "mend /etc/docker/daemon.json or the arguments in docker.service: dockerd --validate",
        )
