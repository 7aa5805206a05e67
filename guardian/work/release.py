"""Release: end a hold by a person's word. --cold starts the container anew, --discard leaves it stopped."""

from __future__ import annotations

from collections.abc import Sequence

from guardian.host import gate
from guardian.model.container import Container
from guardian.model.errors import BadInput, NoCheckpoint
from guardian.model.outcome import Outcome, Result
from guardian.model.states import State
from guardian.model.wording import quoted
from guardian.work.checkpoint import line
from guardian.work.cold import cold
from guardian.work.host import Host, Say


def refuse(host: Host, containers: Sequence[Container], *, force: bool) -> None:
    """Raises NoCheckpoint where one is neither held nor has a checkpoint: there is nothing to release.

    Raises BadInput where another host has it or may have it, unless `force`.
    """
    for container in containers:
        away = host.ledger.elsewhere(container.id)
        if away is not None and not force:
            travel = away.travel()
            other = quoted(travel.host) if travel else "another host"
            moved = away.state() is State.MOVED
            raise BadInput(
                f"{container.name} was moved to {other}" if moved else f"{container.name} comes from {other}",
                "it may run there",
                hint="docker rm, or --force"
                if moved
                else f"guardianctl migrate --resolve {container.name}, or --force",
            )
        if not gate.held(container.id) and host.ledger.pending(container.id) is None:
            raise NoCheckpoint(f"{container.name} is not held", "there is nothing to release")


def release(host: Host, containers: Sequence[Container], *, start: bool, say: Say) -> list[Result]:
    """End the holds of containers; their checkpoints become orphans, not deleted. `start`: start them cold."""
    results = []
    for container in containers:
        reason = "released by hand"
        pending = host.ledger.pending(container.id) or host.ledger.elsewhere(container.id)
        gate.withdraw(container.id)
        if pending is not None:
            pending.mark(State.ORPHANED, reason)
        gate.lift(container.id)
        outcome, why = cold(container, reason) if start else (Outcome.STOPPED, reason)
        result = Result(container.id, container.name, outcome, why, 0.0, pending.id if pending else "")
        if pending is not None:
            pending.set_result(result)
        say(line(result))
        results.append(result)
    return results
