"""Files of a container below a folder of this host, opened without following anything out of it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_below(root: Path, path: str, *, size: int = -1) -> int | None:
    """A descriptor of a regular file, None where there is none; no link is followed below the root.

    Where `size` is known a file of another size is another file.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        return None
    with contextlib.ExitStack() as stack:
        try:
            folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            for part in parts[:-1]:
                folder = os.open(part, _FOLDER, dir_fd=folder)
                stack.callback(os.close, folder)
            descriptor = os.open(parts[-1], _FILE, dir_fd=folder)
        except (OSError, ValueError):
            return None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or (size >= 0 and status.st_size != size):
            os.close(descriptor)
            return None
        return descriptor
