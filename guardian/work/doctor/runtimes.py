"""The runtimes of dockerd: what does not go by the name of runc passes by guardian."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from guardian.host import docker_daemon
from guardian.host.docker_engine import Engine
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_LIMIT = 10.0
_OURS = ("runc", "io.containerd.runc.v2")


def look(_host: Host) -> Iterator[Finding]:
    """The default runtime, and where runc's program is given with its path."""
    if not docker_daemon.running_pid():
        return  # said by engine
    with contextlib.closing(Engine(limit=_LIMIT)) as engine:
        told = engine.described()
    default = str(told.get("DefaultRuntime") or "runc")
    if default not in _OURS:
        yield Finding(
            "runtimes",
            Severity.WARNING,
            f"dockerd's default runtime is {default}",
            "containers made with it can be neither saved nor restored",
            "make containers that are to be guarded with --runtime runc",
        )
    for name, runtime in sorted((told.get("Runtimes") or {}).items()):
        path = str((runtime or {}).get("path") or "")
        if name in _OURS and path.startswith("/"):
            yield Finding(
                "runtimes",
                Severity.ERROR,
                f"dockerd's runtime {name} is {path}",
                "a path is not looked up: containers pass by guardian's front",
                "take runtimes out of /etc/docker/daemon.json",
            )
    if "name=rootless" in (told.get("SecurityOptions") or []):
        yield Finding(
            "runtimes", Severity.ERROR, "dockerd is rootless", "CRIU needs root", "use a dockerd of root's"
        )
