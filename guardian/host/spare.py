"""Files that lie ready: on a full disk they are written over in place, which needs no block."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from guardian.host import durable

SIZE = 4096
"""Bytes: a block of most file systems."""
FULL = (errno.ENOSPC, errno.EDQUOT)


def prepare(path: Path) -> None:
    """Have a file of blanks on disk; raises OSError."""
    durable.write(path, " " * (SIZE - 1) + "\n")


def overwrite(path: Path, text: str) -> None:
    """Write durably over a file that was prepared, blanks up to its end; raises OSError, also where it does not fit."""
    data = text.encode()
    if len(data) > SIZE:
        raise OSError(errno.EFBIG, "it does not fit into what lies ready", str(path))
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, data.ljust(SIZE), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
