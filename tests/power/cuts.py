"""Where the power is cut, and what of the disk's cache survives: pure choices, by seed."""

from __future__ import annotations

import bisect
import dataclasses
import enum
import json
import random
from collections.abc import Sequence

from tests.power.write_log import FLUSH, SECTOR, Entry

BLOCK = 4096
NEAR = (160, 60)
"""How many entries before and after a mark count as near: a mark is written some milliseconds after what it tells."""
NEAR_SHARE = 0.6


class Kept(enum.Enum):
    """What survives of the writes after the last flush before the cut."""

    ALL = "all"
    NONE = "none"
    MOST = "most"
    HALF = "half"
    FEW = "few"
    LATEST = "latest"
    """Only those from some write on: the later ones overtook the earlier ones."""
    TORN = "torn"
    """Half of them, each perhaps only to a block's or a sector's border."""


_SHARE = {Kept.MOST: 0.9, Kept.HALF: 0.5, Kept.FEW: 0.15, Kept.TORN: 0.6}


@dataclasses.dataclass(frozen=True)
class Cut:
    """The power goes before entry `position` of the log; all entries before `flushed` are on the disk for sure.

    `pieces` are what survives of those between: number of the entry, from byte, to byte.
    """

    position: int
    flushed: int
    kept: Kept
    pieces: tuple[tuple[int, int, int], ...]
    lost: int
    """How many writes do not survive, or not whole."""

    def to_text(self) -> str:
        """For the server of the disk."""
        return json.dumps({"flushed": self.flushed, "kept": self.pieces})


def positions(marks: Sequence[int], begin: int, end: int, count: int, chance: random.Random) -> list[int]:
    """`count` positions from `begin` to `end`, sorted: most near marks, the others anywhere."""
    found = []
    for _ in range(count):
        if marks and chance.random() < NEAR_SHARE:
            mark = chance.choice(marks)
            at = chance.randint(mark - NEAR[0], mark + NEAR[1])
        else:
            at = chance.randint(begin, end)
        found.append(min(max(at, begin), end))
    return sorted(found)


def cut(entries: Sequence[Entry], flushes: Sequence[int], position: int, chance: random.Random) -> Cut:
    """One cut before that entry. `flushes` are the numbers of the flushes, ascending."""
    at = bisect.bisect_left(flushes, position)
    flushed = flushes[at - 1] + 1 if at else 0
    loose = [number for number in range(flushed, position) if entries[number].is_write]
    written = len(loose)
    kept = chance.choice(list(Kept))
    if kept is Kept.NONE:
        loose = []
    elif kept is Kept.LATEST:
        loose = loose[chance.randint(0, len(loose)) :]
    elif kept in _SHARE:
        loose = [number for number in loose if chance.random() < _SHARE[kept]]
    border = chance.choice((BLOCK, SECTOR))
    pieces = []
    for number in loose:
        begin, end = 0, entries[number].length
        if kept is Kept.TORN and chance.random() < 0.5:
            middle = chance.randint(0, end // border) * border
            begin, end = chance.choice(((0, middle), (middle, end)))
        if begin < end:
            pieces.append((number, begin, end))
    whole = sum(end - begin == entries[number].length for number, begin, end in pieces)
    return Cut(position, flushed, kept, tuple(pieces), written - whole)


def flushes_of(entries: Sequence[Entry]) -> list[int]:
    """The numbers of all flushes."""
    return [number for number, entry in enumerate(entries) if entry.flags & FLUSH]
