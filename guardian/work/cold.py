"""What becomes of a container that is not restored: a cold start, its checkpoint set aside; or it waits."""

from __future__ import annotations

import contextlib

from guardian.host import gate
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine
from guardian.model.container import Container
from guardian.model.errors import GuardianError, UnknownContainer
from guardian.model.outcome import Outcome, Result
from guardian.model.states import State

_COLD_LIMIT = 120.0


def set_aside(checkpoint: Checkpoint, reason: str) -> str:
    """Keep a checkpoint as an orphan, end its hold; returns the reason, and what could not be written."""
    gate.withdraw(checkpoint.container_id)
    try:
        checkpoint.mark(State.ORPHANED, reason)
    except OSError as error:
        reason += f"; and the ledger cannot be written: {error}"
    gate.lift(checkpoint.container_id)
    return reason


def cold(container: Container, reason: str, left: float) -> tuple[Outcome, str]:
    """Start a container from zero; returns the outcome and its reason. FAILED where dockerd does not start it."""
    try:
        with contextlib.closing(Engine()) as engine:
            engine.start(container.id, limit=max(5.0, min(left, _COLD_LIMIT)))
    except UnknownContainer:
        return Outcome.SKIPPED, "the container was removed"
    except GuardianError as error:
        return Outcome.FAILED, f"{reason}; and it did not start cold: {error}"
    return Outcome.COLD, reason


def waits(container: Container, checkpoint: Checkpoint) -> Result:
    """Not restored now, and nothing lost: it waits for the next dockerd."""
    reason = "dockerd is going away, its checkpoint waits for the next one"
    return Result(container.id, container.name, Outcome.SKIPPED, reason, 0.0, checkpoint.id)
