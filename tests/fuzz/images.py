"""Damages a dump's images in many ways and reads them: every outcome is facts or a GuardianError, soon, in bounds."""

from __future__ import annotations

import os
import random
import resource
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

from guardian.host.images.folder import Folder
from guardian.host.images.processes import inspect
from guardian.model.errors import GuardianError

MOST_SECONDS = 10.0
MOST_GROWTH = 256 << 20
_SMALL = 1 << 16
"""Files up to this size are damaged anywhere, larger ones in their length."""


def _flip(data: bytearray, random_: random.Random) -> None:
    for _ in range(random_.choice((1, 1, 2, 8))):
        if data:
            data[random_.randrange(len(data))] = random_.randrange(256)


def _cut(data: bytearray, random_: random.Random) -> None:
    del data[random_.randrange(len(data) + 1) :]


def _number(data: bytearray, random_: random.Random) -> None:
    """A length or an id that lies."""
    if len(data) >= 4:
        place = random_.randrange(len(data) - 3)
        value = random_.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, random_.getrandbits(32)))
        data[place : place + 4] = struct.pack("<I", value)


def _insert(data: bytearray, random_: random.Random) -> None:
    place = random_.randrange(len(data) + 1)
    data[place:place] = random_.randbytes(random_.choice((1, 4, 100)))


def _repeat(data: bytearray, random_: random.Random) -> None:
    if data:
        begin = random_.randrange(len(data))
        data[begin:begin] = data[begin : begin + random_.randrange(1, 200)] * random_.choice((1, 3))


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip,
    _flip,
    _cut,
    _number,
    _insert,
    _repeat,
)


class Damaged:
    """A copy of a dump's images of which one or two files at a time are damaged, and mended again."""

    def __init__(self, original: Path, scratch: Path, random_: random.Random) -> None:
        self._original = original
        self.folder = scratch / "img"
        shutil.copytree(original, self.folder)
        self._names = sorted(os.listdir(original))
        self._random = random_

    def once(self) -> str:
        """Damage, read, mend; returns the error's name, or `facts`. Raises what is no GuardianError."""
        chosen = self._random.sample(self._names, self._random.choice((1, 1, 1, 2)))
        for name in chosen:
            self._damage(name)
        try:
            inspect(Folder(self.folder))
        except GuardianError as error:
            return error.name
        finally:
            for name in chosen:
                self._mend(name)
        return "facts"

    def _damage(self, name: str) -> None:
        path = self.folder / name
        kind = self._random.random()
        if kind < 0.02:
            path.unlink()
        elif kind < 0.04:
            path.unlink()
            path.symlink_to(self._random.choice(("/dev/zero", "/etc/passwd", name, "..")))
        elif kind < 0.06:
            other = self._random.choice(self._names)
            path.unlink()
            shutil.copy(self._original / other, path)
        elif path.stat().st_size > _SMALL:
            os.truncate(path, self._random.randrange(path.stat().st_size))
        else:
            data = bytearray(path.read_bytes())
            self._random.choice(DAMAGES)(data, self._random)
            path.write_bytes(data)

    def _mend(self, name: str) -> None:
        path = self.folder / name
        path.unlink(missing_ok=True)
        shutil.copy(self._original / name, path)


def campaign(original: Path, scratch: Path, *, rounds: int, seed: int) -> dict[str, int]:
    """Damage and read so many times; returns how often each outcome came. Raises AssertionError for what is wrong."""
    damaged = Damaged(original, scratch, random.Random(seed))
    counts: dict[str, int] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    for number in range(rounds):
        begun = time.monotonic()
        try:
            outcome = damaged.once()
        except Exception as error:
            raise AssertionError(f"seed {seed}, round {number}: {error!r}") from error
        assert time.monotonic() - begun < MOST_SECONDS, f"seed {seed}, round {number}: too slow"
        counts[outcome] = counts.get(outcome, 0) + 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
    assert grown < MOST_GROWTH, f"it grew by {grown >> 20} MiB"
    return counts
