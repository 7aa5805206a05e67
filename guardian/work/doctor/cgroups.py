"""The cgroups: freezing and killing need version 2."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import kernel
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host


def look(_host: Host) -> Iterator[Finding]:
    """Version 1 has no cgroup.kill, and its freezer is another one."""
    if not kernel.unified_cgroups():
        yield Finding(
            "cgroups",
            Severity.ERROR,
            "the cgroups are not of version 2 alone",
            "containers cannot be frozen, so none is saved",
            "boot without systemd.unified_cgroup_hierarchy=0",
        )
