"""CRIU's shared configuration: what an administrator may have set for all its uses."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import runc
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host


def look(_host: Host) -> Iterator[Finding]:
    """Settings that would overrule ours."""
    breaking = runc.breaking_configuration()
    if breaking:
        yield Finding(
            "criu-configuration",
            Severity.ERROR,
            breaking,
            "every checkpoint would fail, so none is begun",
            "remove these lines",
        )
