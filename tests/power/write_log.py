"""A log of what a disk was told, in the format of dm-log-writes (also of QEMU's blklogwrites, xfstests' replay-log).

A superblock, then entries: each one sector of 512 bytes (sector, number of sectors, flags, length of a mark's text),
a write followed by its data. Source of the format: drivers/md/dm-log-writes.c.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from pathlib import Path

SECTOR = 512
FLUSH = 1
MARK = 8

_MAGIC = 0x6A736677736872
_VERSION = 1
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One thing the disk was told. `offset` and `length` are bytes of the disk, `place` where the log has the data."""

    flags: int
    offset: int
    length: int
    place: int
    text: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it has data."""
        return self.length > 0


class Writer:
    """Appends to a new log."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=1 << 20)
        self._count = 0
        self._file.write(self._super())

    def _super(self) -> bytes:
        return _SUPER.pack(_MAGIC, _VERSION, self._count, SECTOR).ljust(SECTOR, b"\0")

    def _entry(self, offset: int, length: int, flags: int, text: bytes = b"") -> None:
        head = _ENTRY.pack(offset // SECTOR, length // SECTOR, flags, len(text))
        self._file.write((head + text)[:SECTOR].ljust(SECTOR, b"\0"))
        self._count += 1

    def write(self, offset: int, data: memoryview) -> None:
        """The disk was told to write whole sectors."""
        if offset % SECTOR or len(data) % SECTOR:
            raise ValueError(f"{len(data)} bytes at {offset} are no whole sectors")
        self._entry(offset, len(data), 0)
        self._file.write(data)

    def flush(self) -> None:
        """The disk was told to bring to safety whatever it has."""
        self._entry(0, 0, FLUSH)

    def mark(self, text: str) -> None:
        """Something happened that has nothing to do with the disk."""
        self._entry(0, 0, MARK, text.encode()[: SECTOR - _ENTRY.size])

    def close(self) -> None:
        """Complete the superblock."""
        self._file.seek(0)
        self._file.write(self._super())
        self._file.close()


class Log:
    """A log that is read."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.entries = self._read()

    def _read(self) -> list[Entry]:
        magic, version, count, sector = _SUPER.unpack(os.pread(self._descriptor, _SUPER.size, 0))
        if (magic, version, sector) != (_MAGIC, _VERSION, SECTOR):
            raise ValueError("this is no log of writes")
        entries, at = [], SECTOR
        for _ in range(count):
            head = os.pread(self._descriptor, SECTOR, at)
            first, sectors, flags, text = _ENTRY.unpack_from(head)
            at += SECTOR
            said = head[_ENTRY.size : _ENTRY.size + text].decode(errors="replace")
            entries.append(Entry(flags, first * SECTOR, sectors * SECTOR, at, said))
            at += sectors * SECTOR
        return entries

    def data(self, entry: Entry) -> bytes:
        """What a write wrote."""
        return os.pread(self._descriptor, entry.length, entry.place)

    def marks(self) -> list[tuple[int, str]]:
        """The marks: number of the entry, and text."""
        return [(number, entry.text) for number, entry in enumerate(self.entries) if entry.flags & MARK]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
