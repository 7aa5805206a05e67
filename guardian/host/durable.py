"""Files that survive a power cut at any byte: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from guardian.model.errors import GuardianError


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that the names in it are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, each root's alone (0700); raises OSError.

    Path.mkdir gives its mode to the last one only.
    """
    if not path.is_dir():
        private_folder(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)


def owner_only(path: str, flags: int) -> int:
    """An opener for `open`: what it makes is root's alone (0600), whatever the umask is."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def write(path: Path, text: str) -> None:
    """Replace a file as a whole (mode 0600); raises OSError with nothing changed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            data = text.encode()
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def into(descriptor: int) -> Iterator[BinaryIO]:
    """A file, pipe or socket that is open already; raises GuardianError where its reader goes away."""
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fsync(descriptor)
    except BrokenPipeError as error:
        raise GuardianError("the archive was not written", "who reads it has gone away") from error
