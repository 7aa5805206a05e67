"""fuse_volume.py FOLDER: serves a FUSE file system there, with one file `n`: a count that only this process has.

It needs tests/power/fuse.py beside it.
"""

import importlib
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


folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
descriptor = fuse.mount(folder)
print("mounted", flush=True)
fuse.serve(descriptor, {"n": Count()})
