"""CRIU: whether it is there and new enough."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import runc
from guardian.host.command import CommandFailed
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_CURE = "apt install criu"


def look(_host: Host) -> Iterator[Finding]:
    """Before 3.19 action scripts from a configuration file are ignored under runc."""
    try:
        old = runc.criu_too_old()
    except CommandFailed as error:
        yield Finding("criu-version", Severity.ERROR, str(error), "it does all the work", _CURE)
        return
    if old:
        yield Finding(
            "criu-version", Severity.ERROR, old, "the commit cannot be had from it: nothing is saved", _CURE
        )
