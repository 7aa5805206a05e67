"""SELinux: guardian has not been tried with it."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import kernel
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host


def look(_host: Host) -> Iterator[Finding]:
    """Enforcing is said; permissive is not."""
    if kernel.selinux_enforces():
        yield Finding(
            "selinux",
            Severity.WARNING,
            "SELinux enforces",
            "guardian has not been tried with it: CRIU may be refused what it needs",
            "look at ausearch -m avc after a checkpoint; setenforce 0 tells whether it is the reason",
        )
