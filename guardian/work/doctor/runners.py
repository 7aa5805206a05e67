"""The processes below which CRIU runs: the worker for a dump, containerd for a restore."""

from __future__ import annotations

import os

from guardian.host import containerd, systemd

_WORKER = "guardian-worker.service"


def runners() -> dict[int, str]:
    """Their process ids and what they are; this command where neither is there."""
    found = dict.fromkeys(containerd.processes(), "containerd")
    worker = systemd.main_pid(_WORKER)
    if worker:
        found[worker] = "guardian-worker"
    return found or {os.getpid(): "this command"}
