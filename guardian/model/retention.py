"""Which checkpoints of a container are kept, and how much of each."""

from __future__ import annotations

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


def decide(checkpoints: Sequence[tuple[State, Purpose, bool]]) -> list[Keep]:
    """What to keep of one container's checkpoints, given oldest first as state, purpose and whether the end is known.

    Only those whose end is known are touched, and no snapshot: a person asked for it. Images go where the container
    came back (`done`) or went on (`void`); of the others, which were not restored, the newest ORPHANS are kept.
    """
    kept: list[Keep] = []
    records = orphans = 0
    for state, purpose, ended in reversed(checkpoints):
        if not ended or purpose is Purpose.SNAPSHOT:
            kept.append(Keep.ALL)
            continue
        records += 1
        if records > RECORDS:
            kept.append(Keep.NOTHING)
        elif state in (State.DONE, State.VOID):
            kept.append(Keep.RECORD)
        else:
            orphans += 1
            kept.append(Keep.ALL if orphans <= ORPHANS else Keep.RECORD)
    kept.reverse()
    return kept
