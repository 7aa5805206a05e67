"""Memory as stretches without a hole, and their bytes without a copy: files of pages are mapped, never read whole."""

from __future__ import annotations

import bisect
import ctypes
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from guardian.host.images.folder import BadImage, open_image
from guardian.host.images.memory import PAGE, Run, Where

MOST_ZERO = 64 << 10
"""Bytes: absent memory up to this long lies in a stretch, as the zeros it is; a longer one ends it (there may be
terabytes of it), and of that one page on each side belongs to the stretch."""


def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
    )
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc


class Pages:
    """Files of pages in this process's address space, read-only: the kernel's cache, no memory of our own.

    A context manager. Whoever cuts such a file off while it is read ends this process (SIGBUS).
    """

    def __init__(self) -> None:
        self._libc = _libc()
        self._files: dict[Path, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for address, size in self._files.values():
            self._libc.munmap(address, size)
        self._files.clear()

    def address(self, run: Run) -> int:
        """Where the first byte of a run with pages lies; raises BadImage."""
        assert run.file is not None
        if run.file not in self._files:
            self._files[run.file] = self._map(run.file)
        address, size = self._files[run.file]
        if run.offset + run.length > size:
            raise BadImage(f"{run.file.name} is cut off", f"it ends at {size}")
        return address + run.offset

    def _map(self, path: Path) -> tuple[int, int]:
        with open_image(path) as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise BadImage(f"{path.name} is empty")
            address = self._libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_PRIVATE, file.fileno(), 0)
        if address in (None, ctypes.c_void_p(-1).value):
            raise BadImage(f"{path.name} cannot be mapped", os.strerror(ctypes.get_errno()))
        return int(address), size


class Stretch:
    """Bytes that lie side by side in memory: runs with pages, and zeros."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        self._starts = [run.address for run in runs]
        self.begin, self.end = runs[0].address, runs[-1].end

    def place(self, address: int) -> int:
        """The number of the run that an address lies in."""
        return bisect.bisect_right(self._starts, address) - 1

    def between(self, begin: int, end: int) -> Iterator[Run]:
        """The runs, cut to the addresses from `begin` to `end`."""
        place = self.place(begin)
        while place < len(self.runs) and self.runs[place].address < end:
            run = self.runs[place]
            yield run.cut(max(begin, run.address), min(end, run.end))
            place += 1

    def copy(self, pages: Pages, begin: int, end: int, target: int) -> None:
        """Put the bytes between two addresses of the stretch to an address of this process."""
        for run in self.between(begin, end):
            if run.where is Where.PAGES:
                ctypes.memmove(target + run.address - begin, pages.address(run), run.length)
            else:
                ctypes.memset(target + run.address - begin, 0, run.length)

    def read(self, pages: Pages, begin: int, end: int) -> bytes:
        """The bytes between two addresses; the caller sees to it that they are few."""
        return b"".join(
            ctypes.string_at(pages.address(run), run.length)
            if run.where is Where.PAGES
            else bytes(run.length)
            for run in self.between(max(begin, self.begin), min(end, self.end))
        )


def stretches(runs: Iterable[Run]) -> Iterator[Stretch]:
    """The stretches in runs given by address. Absent ones are zeros; lazy ones and gaps end a stretch."""
    found: list[Run] = []
    zeros = 0  # bytes of absence before `position`
    position = -1
    for run in runs:
        if run.address != position or run.where is Where.LAZY:
            yield from _ended(found, position - zeros, zeros)
            found, zeros = [], 0
        position = run.end
        if run.where is Where.ABSENT:
            zeros += run.length
        elif run.where is Where.PAGES:
            if zeros > MOST_ZERO:
                yield from _ended(found, run.address - zeros, zeros)
                found, zeros = [], PAGE
            if zeros:
                found.append(Run(run.address - zeros, zeros, Where.ABSENT))
            zeros = 0
            _append(found, run)
    yield from _ended(found, position - zeros, zeros)


def _ended(found: list[Run], address: int, zeros: int) -> Iterator[Stretch]:
    """A stretch that is followed by zeros."""
    if not any(run.where is Where.PAGES for run in found):
        return
    if zeros:
        found.append(Run(address, zeros if zeros <= MOST_ZERO else PAGE, Where.ABSENT))
    yield Stretch(found)


def _append(found: list[Run], run: Run) -> None:
    """Add a run, to the one before where the two lie side by side in the file as well."""
    if found and found[-1].file == run.file and found[-1].offset + found[-1].length == run.offset:
        run = Run(found[-1].address, found[-1].length + run.length, run.where, run.file, found[-1].offset)
        found.pop()
    found.append(run)
