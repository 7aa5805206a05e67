"""What the worker does last, on the way down: dockerd has stopped before it, and nothing is started any more."""

from __future__ import annotations

import logging

from guardian.host import dead_task, gate, systemd

log = logging.getLogger("guardian.worker")


def end_shims() -> None:
    """End what containerd has left of the held containers, which the shutdown would wait for; never an error."""
    try:
        if systemd.going_down():
            dead_task.end_shims(gate.holds())
    except Exception:  # whatever systemd answers, or does not: nothing keeps the worker here
        log.exception("leaving")
