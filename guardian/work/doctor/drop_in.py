"""The drop-ins of docker.service and containerd.service: whether systemd has them in force."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from guardian.host import paths, systemd
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_ENGINE_DIED = str(paths.LIBEXEC / "ask")


def look(_host: Host) -> Iterator[Finding]:
    """The PATH that the next start of each gets, and what runs before dockerd."""
    for unit in ("containerd.service", "docker.service"):
        told = systemd.shown(unit, "LoadState", "Environment", "ExecStartPre", "NeedDaemonReload")
        if told["LoadState"] != "loaded":
            continue
        if told["NeedDaemonReload"] == "yes":
            yield Finding(
                "drop-in",
                Severity.NOTE,
                f"files of {unit} have changed since systemd read them",
                "what is said here of the next start may be another thing then",
                "systemctl daemon-reload",
            )
        if not _path(told["Environment"]).startswith(f"{paths.FRONT_FOLDER}:"):
            yield Finding(
                "drop-in",
                Severity.WARNING,
                f"guardian's drop-in is not in force for {unit}: its PATH does not begin with {paths.FRONT_FOLDER}",
                "containers started after its next start can be neither saved nor restored",
                f"systemctl cat {unit} shows which file sets another PATH; see also systemd-delta",
            )
        if unit == "docker.service" and _ENGINE_DIED not in told.get("ExecStartPre", ""):
            yield Finding(
                "drop-in",
                Severity.WARNING,
                "guardian's ExecStartPre of docker.service is not in force",
                "what a dockerd that died has left serving is killed by the next one, and not saved before",
                "systemctl cat docker.service shows which file empties it",
            )


def _path(environment: str) -> str:
    """PATH in what systemctl says of a unit's environment; the last one holds."""
    variables = dict(word.split("=", 1) for word in shlex.split(environment) if "=" in word)
    return variables.get("PATH", "")
