"""What a look at the host has found: what, why it matters, how to mend it, how bad it is."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable


class Severity(enum.Enum):
    """How bad a finding is."""

    ERROR = "error"
    """Nothing can be saved, or nothing can be restored."""
    WARNING = "warning"
    """Some containers, or some of what they have, cannot."""
    NOTE = "note"
    """Good to know."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be. `name` is stable; `what`, `why` and `cure` have no final full stop."""

    name: str
    severity: Severity
    what: str
    why: str
    cure: str

    def to_json(self) -> dict[str, str]:
        """A plain dictionary; the keys are documented in docs/json.md."""
        return dataclasses.asdict(self) | {"severity": self.severity.value}


def worst(findings: Iterable[Finding]) -> Severity | None:
    """The worst of the findings' severities, None where there are none."""
    found = {finding.severity for finding in findings}
    return next((severity for severity in Severity if severity in found), None)
