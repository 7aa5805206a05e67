"""Which checkpoints of a container are kept, and how much of each."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

from guardian.model.states import Purpose, State

RECORDS = 5
"""Records kept of one container, for `guardianctl list` and for looking into logs."""
ORPHANS = 2
"""Images kept that were not restored: somebody may want to look into them."""


class Keep(enum.Enum):
    """How much of a checkpoint is kept."""

    ALL = "all"
    RECORD = "record"
    NOTHING = "nothing"


@dataclasses.dataclass(frozen=True)
class Kept:
    """What decides about one checkpoint. `age` is in seconds, `size` in bytes.

    `ended`: nothing will be done with it by itself any more; of a snapshot that it is complete.
    """

    state: State
    purpose: Purpose
    ended: bool
    age: float = 0.0
    size: int = 0

    @property
    def goes(self) -> bool:
        """Whether a limit may take it: a snapshot, or an image that was not restored."""
        snapshot = self.purpose is Purpose.SNAPSHOT
        return self.ended and (snapshot or self.state not in (State.DONE, State.VOID))


@dataclasses.dataclass(frozen=True)
class Limits:
    """The configuration's limits: snapshots of one container, seconds, bytes of all together; 0 is none."""

    snapshots: int = 0
    age: float = 0.0
    size: int = 0


def decide(checkpoints: Sequence[Kept], limits: Limits) -> list[Keep]:
    """What to keep of one container's checkpoints, given oldest first.

    Only those whose end is known are touched. Images go where the container came back (`done`) or went on (`void`); of
    the others, which were not restored, the newest ORPHANS are kept, and of snapshots the newest `limits.snapshots`.
    Both go when they are older than `limits.age`.
    """
    kept: list[Keep] = []
    records = orphans = snapshots = 0
    for item in reversed(checkpoints):
        old = bool(limits.age) and item.age > limits.age
        if not item.ended:
            kept.append(Keep.ALL)
        elif item.purpose is Purpose.SNAPSHOT:
            snapshots += 1
            kept.append(Keep.NOTHING if old or 0 < limits.snapshots < snapshots else Keep.ALL)
        else:
            records += 1
            whole = item.goes and not old and orphans < ORPHANS
            orphans += whole
            kept.append(Keep.NOTHING if records > RECORDS else Keep.ALL if whole else Keep.RECORD)
    kept.reverse()
    return kept


def too_much(checkpoints: Sequence[Kept], limits: Limits) -> list[int]:
    """Which of all checkpoints of a store go because they take more than `limits.size` together: oldest first.

    Returns places in the sequence. Only what a limit may take is counted and taken.
    """
    going = sorted(
        (place for place, item in enumerate(checkpoints) if item.goes),
        key=lambda place: -checkpoints[place].age,
    )
    excess = sum(checkpoints[place].size for place in going) - limits.size if limits.size else 0
    found = []
    for place in going:
        if excess <= 0:
            break
        excess -= checkpoints[place].size
        found.append(place)
    return found
