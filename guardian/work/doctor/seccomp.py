"""Seccomp: a filter over CRIU keeps it from suspending those of containers."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import kernel
from guardian.model.finding import Finding, Severity
from guardian.work.doctor.runners import runners
from guardian.work.host import Host


def look(_host: Host) -> Iterator[Finding]:
    """Filters are inherited: those of whoever starts CRIU."""
    for pid, name in runners().items():
        if kernel.status(pid).filtered:
            yield Finding(
                "seccomp",
                Severity.ERROR,
                f"{name} (pid {pid}) is under a seccomp filter",
                "CRIU runs below it: suspending seccomp failed: Operation not permitted",
                "remove SystemCallFilter= and the like from the unit; a host in a container needs to be without one",
            )
