"""The canary: whether this host can dump and restore, tried."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import canary
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host


def look(host: Host) -> Iterator[Finding]:
    """A small process of our own goes through CRIU, as one does at each boot."""
    trial = canary.attempt(host.ledger.store)
    if trial.failure:
        yield Finding(
            "canary",
            Severity.ERROR,
            f"a small process could not be dumped and restored: {trial.failure}",
            "nothing is restored at the next start of docker while this is so: all start cold",
            "the other findings may say why; else boot the kernel before, or install another CRIU",
        )
    elif trial.untried:
        yield Finding(
            "canary",
            Severity.WARNING,
            f"the canary could not be tried: {trial.untried}",
            "whether this host can restore is not known beforehand",
            "apt install --reinstall docker-guardian",
        )
