"""The clock: ages of checkpoints are counted by it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from guardian.host import paths
from guardian.model.errors import GuardianError
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_SLACK = 60.0


def look(host: Host) -> Iterator[Finding]:
    """A clock that is behind what has happened already."""
    seen = [paths.LIBEXEC.stat().st_ctime]
    for checkpoint in host.ledger.all():
        try:
            seen.append(checkpoint.record().taken)
        except GuardianError:
            continue  # of another format
    behind = max(seen) - time.time()
    if behind > _SLACK:
        yield Finding(
            "clock",
            Severity.WARNING,
            f"the clock is at least {behind / 60:.0f} min behind what was written here before",
            "new checkpoints sort before old ones, so that an old one may be taken for the newest; ages are wrong",
            "timedatectl; set the clock before containers are saved",
        )
