"""What becomes of a container that is not restored: a cold start, its checkpoint set aside; or it waits."""

from __future__ import annotations

import contextlib
import os
import threading

from guardian.host import gate
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine
from guardian.model.container import Container
from guardian.model.errors import GuardianError, UnknownContainer
from guardian.model.outcome import Outcome, Result
from guardian.model.states import State
from guardian.work.settle import note_result

_COLD_LIMIT = 120.0
"""Seconds for one start, whatever is left."""
_LEAST = 30.0
"""At the end of a budget dockerd has many to start at once: what it is at would be called failed."""
MAY_HAVE_RUN = "its checkpoint may have run already and is never run twice"


def set_aside(checkpoint: Checkpoint, reason: str) -> str:
    """Keep a checkpoint as an orphan, end its hold; returns the reason, and what could not be written."""
    gate.withdraw(checkpoint.container_id)
    try:
        checkpoint.mark(State.ORPHANED, reason)
    except OSError as error:
        reason += f"; and the ledger cannot be written: {error}"
    gate.lift(checkpoint.container_id)
    return reason


def cold(container: Container, reason: str, left: float = _COLD_LIMIT) -> tuple[Outcome, str]:
    """Start a container from zero; returns the outcome and its reason. FAILED where dockerd does not start it.

    `left`: seconds of the caller's own budget.
    """
    try:
        with contextlib.closing(Engine()) as engine:
            engine.start_anew(container.id, limit=max(_LEAST, min(left, _COLD_LIMIT)))
    except UnknownContainer:
        return Outcome.SKIPPED, "the container was removed"
    except GuardianError as error:
        return Outcome.FAILED, f"{reason}; and it did not start cold: {error}"
    return Outcome.COLD, reason


def ended(checkpoint: Checkpoint, name: str, outcome: Outcome, reason: str) -> Result:
    """Write down what became of a container that is not restored; returns that."""
    result = Result(checkpoint.container_id, name, outcome, reason, 0.0, checkpoint.id)
    note_result(checkpoint, result)
    return result


class ColdStart:
    """A cold start in the place of a restore, among others: so that it gets its own address, and not another one's.

    `ended` is a descriptor, readable when dockerd has answered.
    """

    def __init__(self, container: Container, checkpoint: Checkpoint, reason: str) -> None:
        self.container = container
        self.ended = -1
        self._checkpoint = checkpoint
        self._reason = reason
        self._result: Result | None = None
        self._thread: threading.Thread | None = None

    def begin(self, _left: float) -> None:
        """End its hold and ask dockerd, in a thread."""
        gate.withdraw(self.container.id)
        gate.lift(self.container.id)
        self.ended, writer = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(
            target=self._start, args=(writer,), name=f"cold-{self.container.name}"
        )
        self._thread.start()

    def _start(self, writer: int) -> None:
        try:
            outcome, reason = cold(self.container, self._reason)
            self._result = ended(self._checkpoint, self.container.name, outcome, reason)
        finally:
            os.close(writer)

    def finish(self, _left: float) -> Result:
        """What came of it."""
        assert self._thread is not None
        self._thread.join()
        os.close(self.ended)
        return self._result or self.start_cold(self._reason, 0.0)

    def abandon(self) -> None:
        """Nothing waits for anything."""

    def start_cold(self, reason: str, _left: float) -> Result:
        """It was tried."""
        return ended(self._checkpoint, self.container.name, Outcome.FAILED, reason)


def waits(container: Container, checkpoint: Checkpoint) -> Result:
    """Not restored now, and nothing lost: it waits for the next dockerd."""
    reason = "dockerd is going away, its checkpoint waits for the next one"
    return Result(container.id, container.name, Outcome.SKIPPED, reason, 0.0, checkpoint.id)
