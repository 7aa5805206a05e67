"""Images that are not needed any more: out of the way at once, overwritten in the background, then removed.

They are the memory of every process. Overwriting reaches the same blocks where the file system writes in place; others
keep the old ones for a while whatever is done, and encrypted images need it not.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from guardian.host import encryption
from guardian.host.mounts import filesystem_of

ASIDE = ".erased"
"""In the store: what is to be erased."""
IN_PLACE = frozenset(("ext2", "ext3", "ext4", "xfs"))
"""File systems that overwrite a file where it lies; XFS where it shares no blocks, as images never do."""
_PIECE = bytes(1 << 20)
_IMAGE = ".img"

waiting = threading.Event()
"""Set when something has been put aside in this process."""


def put_aside(path: Path, store: Path) -> Path | None:
    """Take a file or folder of the store away; returns where it is now, None where nothing is left of it.

    Nothing of it may be needed. What is not there is no error.
    """
    aside = store / ASIDE
    place = aside / secrets.token_hex(8)
    try:
        aside.mkdir(mode=0o700, exist_ok=True)
        os.rename(path, place)
    except FileNotFoundError:
        _end(store)
        if os.path.lexists(path):  # another process has removed the folder between the two
            return put_aside(path, store)
        return None
    except OSError:
        shutil.rmtree(path, ignore_errors=True)
        return None
    waiting.set()
    return place


def away(path: Path, store: Path, *, overwrite: bool) -> None:
    """The same, and erased when this returns: for processes that have no background."""
    place = put_aside(path, store)
    if place is not None:
        with contextlib.suppress(OSError):  # the worker is at it as well, or will be
            _erase(place, overwrite=overwrite and filesystem_of(store) in IN_PLACE, stop=threading.Event())
        _end(store)


def erase(store: Path, *, overwrite: bool, stop: threading.Event) -> None:
    """Overwrite and remove what was put aside, one thing after the other, until `stop` is set; raises OSError."""
    overwrite = overwrite and filesystem_of(store) in IN_PLACE
    for entry in sorted(_put_aside(store)):
        _erase(entry, overwrite=overwrite, stop=stop)
    _end(store)


def _erase(entry: Path, *, overwrite: bool, stop: threading.Event) -> None:
    for image in _images(entry) if overwrite else ():
        _overwrite(image, stop)
        if stop.is_set():
            return  # in the middle of one, perhaps: it is begun again
    shutil.rmtree(entry, ignore_errors=True)


def _end(store: Path) -> None:
    with contextlib.suppress(OSError):  # there is more
        (store / ASIDE).rmdir()


def _put_aside(store: Path) -> Iterator[Path]:
    try:
        yield from (store / ASIDE).iterdir()
    except FileNotFoundError:
        return


def _images(folder: Path) -> Iterator[Path]:
    """Every image below, where it is not encrypted."""
    for root, _, files in os.walk(folder):
        if not encryption.is_encrypted(Path(root)):
            paths = (Path(root) / name for name in files if name.endswith(_IMAGE))
            yield from (path for path in paths if not path.is_symlink())


def _overwrite(path: Path, stop: threading.Event) -> None:
    """Zeros over all that is written in a file with one name; its holes stay holes."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # another process is at it as well
    try:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode) or seen.st_nlink != 1:
            return
        for begin, end in _written(descriptor, seen.st_size):
            for offset in range(begin, end, len(_PIECE)):
                if stop.is_set():
                    return
                os.pwrite(descriptor, _PIECE[: min(len(_PIECE), end - offset)], offset)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _written(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    position = 0
    while position < size:
        try:
            begin = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = os.lseek(descriptor, begin, os.SEEK_HOLE)
        yield begin, position
