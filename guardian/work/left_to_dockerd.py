"""Containers that could be neither saved nor written down as stopped, once dockerd is up again: they start cold."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from guardian.host import gate, unsaved
from guardian.model.container import Container
from guardian.model.errors import GuardianError
from guardian.model.outcome import Outcome, Result
from guardian.work import stop
from guardian.work.checkpoint import line
from guardian.work.cold import cold, set_aside
from guardian.work.host import Host, Say

log = logging.getLogger("guardian.cycle")


def find(containers: Sequence[Container]) -> dict[str, tuple[Container, str]]:
    """Those that are to be started, or that dockerd has started itself, by their ids, and why they are cold.

    One that runs and was not started since has run on; one that was, and is down, its user may have stopped.
    """
    by_id = {container.id: container for container in containers}
    found = {}
    for container_id, noted in unsaved.noted().items():
        container = by_id.get(container_id)
        if container is not None and container.running != (container.started_at == noted.started_at):
            found[container_id] = (container, noted.reason)
        else:
            unsaved.forget(container_id)
    return found


def start(host: Host, found: Mapping[str, tuple[Container, str]], *, say: Say) -> list[Result]:
    """Start them, after the restores, whose addresses they would take; an older checkpoint of theirs is an orphan."""
    results = []
    for container, why in found.values():
        reason = why
        try:
            older = host.ledger.pending(container.id)
            if older is not None:
                reason = set_aside(older, why)
        except GuardianError as error:
            log.error("%s: %s", container.name, error)
        gate.lift(container.id)
        outcome = (Outcome.COLD, reason) if container.running else cold(container, reason)
        results.append(stop.note(host, container, *outcome))
        if results[-1].checkpoint:  # else it is written down once the store can be
            unsaved.forget(container.id)
        say(line(results[-1]))
    return results
