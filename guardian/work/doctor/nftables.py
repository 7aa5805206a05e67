"""nftables: locks the network of containers that are being saved or restored."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host.command import CommandFailed, run
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_LIMIT = 10.0


def look(_host: Host) -> Iterator[Finding]:
    """The program, and whether the kernel answers it."""
    try:
        run(["nft", "list", "tables"], limit=_LIMIT)
    except CommandFailed as error:
        yield Finding(
            "nftables",
            Severity.ERROR,
            str(error),
            "containers with a network of their own can be neither saved nor restored",
            "apt install nftables; modprobe nf_tables",
        )
