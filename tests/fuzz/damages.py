"""Ways to damage bytes, whatever they are."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable


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
