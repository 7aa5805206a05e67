"""What became of one container. Outcomes are an open set: whoever reads them accepts unknown ones."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from guardian.model.container import is_container_id
from guardian.model.errors import BadInput
from guardian.model.wording import quoted


class Outcome(str):
    """One word for what became of a container."""

    __slots__ = ()

    RESUMED: ClassVar[Outcome]
    """It goes on where it was, and that was proven."""

    COLD: ClassVar[Outcome]
    """It was started from zero."""

    STOPPED: ClassVar[Outcome]
    """It was stopped gracefully, or stays stopped because the user wants it so."""

    FAILED: ClassVar[Outcome]
    """It does not run, and should."""

    SKIPPED: ClassVar[Outcome]
    """It was left as it was."""

    SAVED: ClassVar[Outcome]
    """Its checkpoint is complete: what a checkpoint comes to, where the others are what a restore comes to."""

    MOVED: ClassVar[Outcome]
    """Another host has it."""

    EXPORTED: ClassVar[Outcome]
    """It is in an archive now, and as it was here."""

    IMPORTED: ClassVar[Outcome]
    """It was made of an archive, and waits to be resumed."""

    REMOVED: ClassVar[Outcome]
    """A checkpoint of it was deleted."""


Outcome.RESUMED = Outcome("resumed")
Outcome.COLD = Outcome("cold")
Outcome.STOPPED = Outcome("stopped")
Outcome.FAILED = Outcome("failed")
Outcome.SKIPPED = Outcome("skipped")
Outcome.SAVED = Outcome("saved")
Outcome.MOVED = Outcome("moved")
Outcome.EXPORTED = Outcome("exported")
Outcome.IMPORTED = Outcome("imported")
Outcome.REMOVED = Outcome("removed")

_LONGEST = 1e12
"""Seconds that a result may say: a number that is larger is none."""
_NEED_A_REASON = frozenset({Outcome.COLD, Outcome.STOPPED, Outcome.FAILED, Outcome.SKIPPED})


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one container, and why.

    `reason` is never empty for cold, stopped, failed and skipped; what unknown outcomes need is not known here.
    `checkpoint` is empty where there is none. Raises BadInput for an outcome without the reason it needs.
    """

    container_id: str
    name: str
    outcome: Outcome
    reason: str
    seconds: float
    checkpoint: str = ""

    def __post_init__(self) -> None:
        """Refuse what nobody could act on."""
        if not self.outcome:
            raise BadInput("a result has no outcome")
        if not self.reason and self.outcome in _NEED_A_REASON:
            raise BadInput("a result has no reason", f"the outcome {quoted(str(self.outcome))} needs one")

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return dataclasses.asdict(self) | {"outcome": str(self.outcome)}

    @classmethod
    def from_json(cls, data: object) -> Result:
        """The result in `data`, whatever its outcome; keys that are not known are ignored.

        Raises BadInput for anything else that `to_json` would not have written.
        """
        if not isinstance(data, dict):
            raise BadInput("a result does not parse", f"{quoted(data)} is not an object")
        names = ("container_id", "name", "outcome", "reason", "checkpoint")
        texts = {name: data.get(name) for name in names}
        for name, value in texts.items():
            if not isinstance(value, str):
                raise BadInput("a result does not parse", f"{name} is {quoted(value)}, not a string")
        seconds = data.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST:
            raise BadInput("a result does not parse", f"seconds is {quoted(seconds)}, not a number from 0")
        if not is_container_id(data["container_id"]):
            raise BadInput("a result does not parse", f"{quoted(data['container_id'])} is not a container id")
        fields: dict[str, Any] = texts | {"outcome": Outcome(data["outcome"]), "seconds": float(seconds)}
        return cls(**fields)
