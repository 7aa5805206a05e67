"""Damages a checkpoint in many ways and has it read: every outcome is facts or a GuardianError, soon, in bounds."""

from __future__ import annotations

import logging
import os
import random
import resource
import shutil
import tempfile
import time
from pathlib import Path

from guardian.host.checkpoint import Checkpoint
from tests.fuzz.damages import DAMAGES
from tests.fuzz.readers import READERS, outcome

MOST_SECONDS = 10.0
MOST_GROWTH = 256 << 20
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_SMALL = 1 << 16
"""Files up to this size are damaged anywhere, larger ones in their length."""
_BESIDE = 0.25
"""How often a file beside CRIU's images is damaged, of which there are few."""


class Damaged:
    """A copy of a checkpoint of which one or two files at a time are damaged, and mended again."""

    def __init__(self, original: Path, scratch: Path, random_: random.Random) -> None:
        self._original = original
        self._scratch = scratch
        # As in a store: the container's folder, then the checkpoint's.
        self.folder = scratch / original.parent.name / original.name
        shutil.copytree(original, self.folder, symlinks=True)
        names = sorted(
            str(path.relative_to(original))
            for path in original.rglob("*")
            if path.is_file() and not path.is_symlink()
        )
        self._images = [name for name in names if name.startswith("img/")]
        self._beside = [name for name in names if not name.startswith("img/")]
        self._random = random_

    def once(self) -> tuple[str, str]:
        """Damage, have one read, mend; returns who read and the error's name, or `facts`. Raises all other errors."""
        reader = self._random.choice(sorted(READERS))
        names = self._beside if self._random.random() < _BESIDE else self._images
        chosen = self._random.sample(names, self._random.choice((1, 1, 1, 2)))
        for name in chosen:
            self._damage(name)
        try:
            return reader, outcome(reader, Checkpoint(self.folder), self._scratch)
        except Exception as error:
            error.add_note(f"{reader}, damaged: {', '.join(chosen)}")
            raise
        finally:
            for name in chosen:
                self._mend(name)

    def _damage(self, name: str) -> None:
        path = self.folder / name
        kind = self._random.random()
        if kind < 0.02:
            path.unlink()
        elif kind < 0.04:
            path.unlink()
            # What lies beside the images is read without a limit: only root can put a device there.
            endless = ("/dev/zero",) if name in self._images else ()
            path.symlink_to(self._random.choice((*endless, "/etc/passwd", path.name, "..")))
        elif kind < 0.06:
            other = self._random.choice(self._images)
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


def campaign(original: Path, scratch: Path, *, rounds: int, seed: int) -> dict[str, dict[str, int]]:
    """Damage and read so many times; returns how often each outcome came, by reader.

    `original` is a checkpoint's folder. Raises AssertionError for what is wrong.
    """
    damaged = Damaged(original, scratch, random.Random(seed))
    counts: dict[str, dict[str, int]] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    for number in range(rounds):
        begun = time.monotonic()
        try:
            reader, told = damaged.once()
        except Exception as error:
            where = "; ".join(getattr(error, "__notes__", ()))
            raise AssertionError(f"seed {seed}, round {number}: {error!r} ({where})") from error
        seconds = time.monotonic() - begun
        assert seconds < MOST_SECONDS, f"seed {seed}, round {number}: {reader} took {seconds:.1f} s"
        of_reader = counts.setdefault(reader, {})
        of_reader[told] = of_reader.get(told, 0) + 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
    assert grown < MOST_GROWTH, f"it grew by {grown >> 20} MiB"
    return counts


def portion(original: Path, rounds: int, seed: int) -> dict[str, dict[str, int]]:
    """A campaign in a process of its own, with its own copy of the checkpoint."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(dir=_MEMORY) as scratch:
        found = campaign(original, Path(scratch), rounds=rounds, seed=seed)
    print(f"seed {seed}: {found}", flush=True)
    return found
