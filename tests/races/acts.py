"""Acts of users and what each must come to, as data."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from guardian.model.states import State
from tests.faults.steps import STEPS, Trigger


class End(enum.Enum):
    """What becomes of the container."""

    REMOVED = "removed"
    STOPPED = "stopped"
    ANEW = "made anew"
    KEPT = "resumed or ran on"
    COLD = "cold with a true reason"


@dataclasses.dataclass(frozen=True)
class Act:
    """What a user does to the container {name}, and where it may end."""

    command: str
    ends: frozenset[End]
    reason: str = ""
    """What the reason of a container that came to be cold must say, as a regular expression."""


_STARTED = "started since, without guardian|its user restarted it"
ACTS: Mapping[str, Act] = {
    "rm -f": Act("docker rm -f {name}", frozenset({End.REMOVED})),
    "stop": Act("docker stop {name}", frozenset({End.STOPPED})),
    "restart": Act("docker restart {name}", frozenset({End.KEPT, End.COLD}), _STARTED),
    "rm and run": Act("docker rm -f {name} && {run}", frozenset({End.ANEW})),
}
TRIGGERS = (Trigger.COMMAND, Trigger.RESTART)
_DEAD = frozenset({State.COMMITTED.value, State.KILLED.value, State.TICKETED.value, "verdict"})
"""Steps at which it is down, or about to be: dockerd answers a stop with "not running", and nobody hears of it. And its
removal waits for its end, so that what is run in its place is started when all are saved, and dockerd goes."""


@dataclasses.dataclass(frozen=True, order=True)
class Race:
    """One act at one step of what a trigger began."""

    step: str
    act: str
    trigger: str

    def __str__(self) -> str:
        return f"{self.step} / {self.act} / {self.trigger}"

    @property
    def ends(self) -> frozenset[End]:
        """Where it may end."""
        more = {End.KEPT} if self.act == "stop" and self.step in _DEAD else set[End]()
        if self.act == "rm and run" and self.step in _DEAD and self.trigger == Trigger.RESTART.value:
            more |= {End.STOPPED}  # by dockerd; its policy decides, as without guardian
        return ACTS[self.act].ends | more


def races() -> list[Race]:
    """All of them."""
    return [Race(step, act, trigger.value) for trigger in TRIGGERS for step in STEPS for act in ACTS]
