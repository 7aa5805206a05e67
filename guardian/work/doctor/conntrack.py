"""conntrack: what NAT knows of connections is saved and put back."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host.command import CommandFailed, run
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_LIMIT = 10.0


def look(_host: Host) -> Iterator[Finding]:
    """The program, and whether the kernel answers it."""
    try:
        run(["conntrack", "--count"], limit=_LIMIT)
    except CommandFailed as error:
        yield Finding(
            "conntrack",
            Severity.WARNING,
            str(error),
            "connections from outside to published ports, and out of containers, are closed",
            "apt install conntrack; modprobe nf_conntrack_netlink",
        )
