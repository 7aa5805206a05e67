"""Mutations of an input: of bytes where atheris is not there, of a tree of JSON always. Deterministic by seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

_STRANGE: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        1 << 31,
        1 << 63,
        -(1 << 63),
        10**400,
        1.5,
        float("nan"),
        float("inf"),
        1e308,
    ),
    *("", "\0", "\ud800", "..", "/", "a" * 300, "\u2028", "\x0c", "0", "-", [], {}, [[]], [None], {"": None}),
)
_MOST_NODES = 400


def of_tree(data: bytes, seed: int, most: int) -> bytes | None:
    """A JSON text with one to three nodes changed; None where it is no JSON, or becomes too long."""
    random_ = random.Random(seed)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        value = _changed(value, random_)
    try:
        found = json.dumps(value).encode()
    except (ValueError, RecursionError):
        return None
    return found if len(found) <= most else None


def _changed(value: Any, random_: random.Random) -> Any:
    holder = [value]
    places: list[tuple[Any, Any]] = [(holder, 0)]
    for container, key in places:
        if len(places) > _MOST_NODES:
            break
        inner = container[key]
        if isinstance(inner, dict):
            places += [(inner, each) for each in inner]
        elif isinstance(inner, list):
            places += [(inner, each) for each in range(len(inner))]
    container, key = random_.choice(places)
    kind = random_.randrange(7)
    if kind <= 1:
        container[key] = copy.deepcopy(random_.choice(_STRANGE))
    elif kind == 2 and container is not holder:
        del container[key]
    elif kind == 3:
        other, at = random_.choice(places)
        container[key] = copy.deepcopy(other[at])
    elif kind == 4 and isinstance(container, dict):
        container[random_.choice(("", "x", f"{key}x", "\0"))] = container[key]
    elif kind == 5 and isinstance(container[key], str):
        at = random_.randrange(len(container[key]) + 1)
        container[key] = (
            container[key][:at] + random_.choice((" ", "\0", "/", "\n", "@", ":", "9")) + container[key][at:]
        )
    elif kind == 6 and isinstance(container[key], int):
        container[key] += random_.choice((-1, 1, 1 << 16, 1 << 32, -(1 << 64)))
    else:
        container[key] = [container[key]]
    return holder[0]


def of_bytes(
    data: bytes, words: Sequence[bytes], others: Sequence[bytes], random_: random.Random, most: int
) -> bytes:
    """Bytes with one to four places changed: flipped, cut, repeated, a word or a part of another input put in."""
    found = bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 3, 4))):
        at = random_.randrange(len(found) + 1)
        kind = random_.randrange(8)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << random_.randrange(8)
        elif kind == 1 and at < len(found):
            found[at] = random_.randrange(256)
        elif kind == 2:
            del found[at : at + random_.choice((1, 2, 8, 64))]
        elif kind == 3 and words:
            found[at:at] = random_.choice(words)
        elif kind == 4 and words:
            word = random_.choice(words)
            found[at : at + len(word)] = word
        elif kind == 5:
            found[at:at] = found[at : at + random_.choice((1, 4, 40))] * random_.choice((1, 2, 20))
        elif kind == 6 and others:
            other = random_.choice(others)
            start = random_.randrange(len(other) + 1)
            found[at:at] = other[start : start + random_.choice((4, 16, 100))]
        else:
            found[at:at] = random_.randbytes(random_.choice((1, 2, 8)))
    return bytes(found[:most])
