"""The canary before a restore: where this host cannot restore, nothing is tried on the containers' images."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from guardian.host import canary, docker_daemon
from guardian.model.graph import address_order
from guardian.model.outcome import Result
from guardian.work import pending
from guardian.work.checkpoint import line
from guardian.work.cold import waits
from guardian.work.host import Host, Say
from guardian.work.resume import Pending

log = logging.getLogger("guardian.canary")


def sent_ahead(
    host: Host, ready: Sequence[Pending], *, stopping: threading.Event, say: Say
) -> tuple[list[Pending], list[Result]]:
    """Those of `ready` that may be restored: all of them, or none, each started cold with its image kept.

    A canary that could not be tried (its program is gone) is no reason not to restore.
    """
    if not ready or not host.config.canary or stopping.is_set():
        return list(ready), []
    trial = canary.attempt(host.ledger.store)
    if trial.failure:
        why = f"this host cannot restore, a canary did not come through: {trial.failure}"
        say(f"{why} ({trial.seconds:.2f} s); nothing is restored, the images are kept")
        return [], _all_cold(ready, why, stopping=stopping, say=say)
    log.info("canary: %s (%.2f s)", trial.untried or "dumped and restored", trial.seconds)
    return list(ready), []


def _all_cold(ready: Sequence[Pending], why: str, *, stopping: threading.Event, say: Say) -> list[Result]:
    """In the order of the old addresses, as a restore would."""
    by_id = {item.container.id: item for item in ready}
    results = []
    for container_id in address_order([item.record.container for item in ready]):
        item = by_id[container_id]
        if stopping.is_set() or not docker_daemon.running_pid():
            results.append(waits(item.container, item.checkpoint))
            continue
        results.append(pending.give_up(item, why))
        say(line(results[-1]))
    return results
