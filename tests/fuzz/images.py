"""Damages a dump's images in many ways and reads them: every outcome is facts or a GuardianError, soon, in bounds."""

from __future__ import annotations

import os
import random
import resource
import shutil
import time
from pathlib import Path

from guardian.host.images.folder import Folder
from guardian.host.images.processes import inspect
from guardian.model.errors import GuardianError
from tests.fuzz.damages import DAMAGES

MOST_SECONDS = 10.0
MOST_GROWTH = 256 << 20
_SMALL = 1 << 16
"""Files up to this size are damaged anywhere, larger ones in their length."""


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
