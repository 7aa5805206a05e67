"""fuse_volume.py FOLDER: serves a FUSE file system there, with one file `n`: a count that only this process has.

It needs tests/power/fuse.py beside it.
"""

import ctypes
import importlib
import signal
import sys
from pathlib import Path

fuse = importlib.import_module("fuse")


class Count:
    """A file that says how often it was read."""

    size = 16

    def __init__(self) -> None:
        self._read = 0

    def read(self, offset: int, length: int) -> bytes:
        """The next number, in as many characters as the file is long."""
        self._read += 1
        return (b"%015d\n" % self._read)[offset : offset + length]

    def write(self, _offset: int, _data: memoryview) -> None:
        """It is not written."""
        raise PermissionError(1, "read only")

    def fsync(self) -> None:
        """Nothing is to be done."""


def unmount(*_: object) -> None:
    """At the end, as every server does: who uses a file system without its server only gets errors."""
    ctypes.CDLL(None).umount2(str(folder).encode(), 2)  # MNT_DETACH
    sys.exit(0)


folder = Path(sys.argv[1])
signal.signal(signal.SIGTERM, unmount)
folder.mkdir(parents=True, exist_ok=True)
descriptor = fuse.mount(folder)
print("mounted", flush=True)
fuse.serve(descriptor, {"n": Count()})
