"""Containers that could be neither saved nor written down as stopped, once dockerd is up again: they start cold."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from guardian.host import gate, unsaved
from guardian.model.container import Container
from guardian.model.outcome import Outcome, Result
from guardian.work import stop
from guardian.work.checkpoint import line
from guardian.work.cold import cold, set_aside
from guardian.work.host import Host, Say

log = logging.getLogger("guardian.cycle")


def start(host: Host, containers: Sequence[Container], *, say: Say) -> list[Result]:
    """Start those that dockerd has not started itself, and say why; an older checkpoint of theirs is an orphan."""
    by_id = {container.id: container for container in containers}
    results = []
    for container_id, found in unsaved.noted().items():
        container = by_id.get(container_id)
        # Down, and started since by somebody: that its user has stopped it cannot be excluded.
        if container is not None and (container.running or container.started_at == found.started_at):
            older = host.ledger.pending(container_id)
            reason = set_aside(older, found.reason) if older is not None else found.reason
            gate.lift(container_id)
            outcome = (Outcome.COLD, reason) if container.running else cold(container, reason)
            results.append(stop.note(host, container, *outcome))
            say(line(results[-1]))
        try:
            unsaved.forget(container_id)
        except OSError as error:
            log.error("%s: %s", container_id[:12], error)
    return results
