"""What a dockerd that was killed over a container's end leaves with containerd: a dead task, which refuses every start.

"task ...: already exists" (seen with Docker 28 on containerd 1.7 and 2, make test-faults, killed / dockerd). Often the
container's own record is gone as well, and no client can name the task any more; it goes with its shim. And the shim of
a start that a killed containerd had begun, which nobody knows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Collection

from guardian.host import proc, runc
from guardian.host.command import CommandFailed, run

_LIMIT = 10.0
_SHIM = b"containerd-shim"

log = logging.getLogger("guardian.containerd")


def is_in_the_way(container_id: str, why: str) -> bool:
    """Whether this is what dockerd says of a start that a dead task has refused."""
    return f"task {container_id}: already exists" in why and runc.state(container_id) is None


def remove(container_id: str) -> None:
    """Have containerd forget the task of a container whose init is dead; takes a moment after this returns."""
    try:
        run(["ctr", "--namespace", "moby", "tasks", "delete", container_id], limit=_LIMIT)
    except CommandFailed as error:
        log.info("the task of %s cannot be deleted, its shim is ended: %s", container_id[:12], error)
        _end_shims({container_id})


def end_shims(container_ids: Collection[str]) -> None:
    """End the shims of those of these containers whose init is dead, once no dockerd starts anything any more.

    One of a start that containerd was killed in does not heed SIGTERM, and systemd-shutdown waits 90 s for it (seen,
    make test-faults, committed / containerd / reboot).
    """
    _end_shims({container_id for container_id in container_ids if runc.state(container_id) is None})


def _end_shims(container_ids: Collection[str]) -> None:
    wanted = {container_id.encode() for container_id in container_ids}
    for pid, words in proc.command_lines():
        if _SHIM in words[0] and wanted & set(words):
            log.info("ended a shim that was left: %s", b" ".join(words).decode(errors="replace"))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
