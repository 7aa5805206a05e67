"""What a dockerd that was killed over a container's end leaves with containerd: a dead task, which refuses every start.

"task ...: already exists" (seen with Docker 28 on containerd 1.7 and 2, make test-faults, killed / dockerd). Often the
container's own record is gone as well, and no client can name the task any more; it goes with its shim.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal

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
        for pid, words in proc.command_lines():
            if _SHIM in words[0] and container_id.encode() in words:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
