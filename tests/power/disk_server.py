"""The program behind the disk of a test host: `record IMAGE LOG TARGET`, or `replay IMAGE LOG TARGET`.

TARGET gets a file for each partition of the one disk, and `control`. While it records, what is written into `control`
becomes a mark in the log. While it replays, it is a cut (cuts.Cut as JSON): the disk is then IMAGE with all the log's
writes up to the last flush before the cut and those after it that the cut keeps; what is written to it is forgotten at
the next.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from pathlib import Path

from tests.power import fuse
from tests.power.partitions import ALL, Part
from tests.power.write_log import Log, Writer

CONTROL = "control"
_PAGE = 4096


class RecordedDisk:
    """Writes through to an image and into a log."""

    def __init__(self, image: Path, log: Writer) -> None:
        self._descriptor = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self.size = os.fstat(self._descriptor).st_size
        self._log = log

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def write(self, offset: int, data: memoryview) -> None:
        self._log.write(offset, data)
        os.pwrite(self._descriptor, data, offset)

    def fsync(self) -> None:
        self._log.flush()


class Partition:
    """A part of a disk. A flush is one of the whole disk."""

    def __init__(self, disk: fuse.Served, part: Part) -> None:
        self._disk = disk
        self._begin = part.begin
        self.size = part.size

    def read(self, offset: int, length: int) -> bytes:
        return self._disk.read(self._begin + offset, max(0, min(length, self.size - offset)))

    def write(self, offset: int, data: memoryview) -> None:
        if offset + len(data) > self.size:
            raise OSError(errno.ENOSPC, "behind the partition's end")
        self._disk.write(self._begin + offset, data)

    def fsync(self) -> None:
        self._disk.fsync()


def partitions(disk: fuse.Served) -> dict[str, fuse.Served]:
    """Its partitions, by name."""
    return {part.name: Partition(disk, part) for part in ALL}


class Marks:
    """A mark for each write."""

    size = 0

    def __init__(self, log: Writer) -> None:
        self._log = log

    def read(self, _offset: int, _length: int) -> bytes:
        return b""

    def write(self, _offset: int, data: memoryview) -> None:
        self._log.mark(bytes(data).decode())

    def fsync(self) -> None:
        return


class ReplayedDisk:
    """An image that goes forward with a log, and pages above it that are forgotten at each cut."""

    def __init__(self, image: Path, log: Log) -> None:
        self._descriptor = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self.size = os.fstat(self._descriptor).st_size
        self._log = log
        self._applied = 0
        self._above: dict[int, bytearray] = {}

    def cut(self, flushed: int, kept: list[tuple[int, int, int]]) -> None:
        """All entries before `flushed`, and of later ones (number, from byte, to byte) what is `kept`."""
        if flushed < self._applied:
            raise OSError(errno.EINVAL, "a log is replayed forward only")
        for entry in self._log.entries[self._applied : flushed]:
            if entry.is_write:
                os.pwrite(self._descriptor, self._log.data(entry), entry.offset)
        self._applied = flushed
        self._above = {}
        for number, begin, end in kept:
            entry = self._log.entries[number]
            self.write(entry.offset + begin, memoryview(self._log.data(entry))[begin:end])

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(os.pread(self._descriptor, length, offset))
        end = offset + len(data)
        for page in range(offset // _PAGE, (end + _PAGE - 1) // _PAGE):
            above = self._above.get(page)
            if above is not None:
                begin, stop = max(offset, page * _PAGE), min(end, (page + 1) * _PAGE)
                data[begin - offset : stop - offset] = above[begin - page * _PAGE : stop - page * _PAGE]
        return bytes(data)

    def write(self, offset: int, data: memoryview) -> None:
        at = 0
        while at < len(data):
            page, within = divmod(offset + at, _PAGE)
            piece = data[at : at + _PAGE - within]
            above = self._above.get(page)
            if above is None:
                whole = len(piece) == _PAGE
                above = bytearray(_PAGE if whole else os.pread(self._descriptor, _PAGE, page * _PAGE))
                self._above[page] = above
            above[within : within + len(piece)] = piece
            at += len(piece)

    def fsync(self) -> None:
        return


class Cuts:
    """A cut for each write."""

    size = 0

    def __init__(self, disk: ReplayedDisk) -> None:
        self._disk = disk

    def read(self, _offset: int, _length: int) -> bytes:
        return b""

    def write(self, _offset: int, data: memoryview) -> None:
        asked = json.loads(bytes(data))
        self._disk.cut(asked["flushed"], [(number, begin, end) for number, begin, end in asked["kept"]])

    def fsync(self) -> None:
        return


def main() -> None:
    """Serve until SIGTERM; says `ready` once it is mounted."""
    what, image, log, target = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    descriptor = fuse.mount(Path(target))
    print("ready", flush=True)
    if what == "record":
        writer = Writer(Path(log))
        try:
            fuse.serve(descriptor, {**partitions(RecordedDisk(Path(image), writer)), CONTROL: Marks(writer)})
        finally:
            writer.flush()
            writer.close()
    else:
        disk = ReplayedDisk(Path(image), Log(Path(log)))
        fuse.serve(descriptor, {**partitions(disk), CONTROL: Cuts(disk)})


if __name__ == "__main__":
    main()
