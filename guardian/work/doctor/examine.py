"""Looking at a host, one check after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType

from guardian.model.finding import Finding, Severity
from guardian.model.wording import printable
from guardian.work.host import Host


def examine(host: Host, checks: Sequence[ModuleType]) -> Iterator[Finding]:
    """What is wrong. A check that fails is a finding itself; this never raises."""
    for check in checks:
        try:
            yield from check.look(host)
        except Exception as error:  # noqa: BLE001 # whatever is wrong with this host, the others are looked at
            yield Finding(
                name(check),
                Severity.WARNING,
                f"could not be looked at: {printable(str(error) or repr(error))}",
                "what is wrong there is not known",
                "see what the other findings say; else report it",
            )


def name(check: ModuleType) -> str:
    """What a check is called."""
    return check.__name__.rpartition(".")[2].replace("_", "-")
