"""One worker at a time: a second one would settle the dumps of the first as those of a dead one.

Where a worker is killed on the way down, each unit that waits starts one (runtime/ask.c), and later systemd another.
"""

from __future__ import annotations

import fcntl
import os

from guardian.host import paths

_LOCK = paths.RUN / "worker.lock"


def wait() -> None:
    """Be the worker, once no other one lives. Raises OSError."""
    fcntl.lockf(_opened(), fcntl.LOCK_EX)


def at_once() -> bool:
    """Be the worker; False where another one lives. Raises OSError."""
    try:
        fcntl.lockf(_opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _opened() -> int:
    """Never closed: lockf(3) locks are the process's, not its children's, and end with it."""
    paths.RUN.mkdir(mode=0o700, exist_ok=True)
    return os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
