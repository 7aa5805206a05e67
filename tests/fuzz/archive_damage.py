"""Damage to an archive, from a flipped bit to one that its manifest vouches for; all of it from one random source."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.fuzz.damages import DAMAGES
from tests.fuzz.tar_pieces import (
    BLOCK,
    FIELDS,
    KINDS,
    Piece,
    a_name,
    a_number,
    chain,
    hostile,
    joined,
    pax,
    plain,
    summed,
    with_field,
)
from tests.fuzz.whole_archive import Whole

MANIFEST = "guardian/manifest.json"
_DEEP = "@deep@"
_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        [],
        {},
        "",
        [[]],
        {"": None},
        "x",
        "\0",
        "a\nb",
        "\x1b[2J",
        "\ud800",
        "../../etc",
        "/",
    ),
    *(
        0,
        1,
        -1,
        2,
        1 << 31,
        1 << 63,
        1 << 64,
        -(1 << 70),
        10**400,
        0.5,
        1e308,
        float("inf"),
        float("nan"),
        _DEEP,
    ),
    *(
        "x" * 5000,
        "0" * 64,
        "own",
        "default",
        "host",
        "container:x",
        ["a", 1, None],
        [0] * 1000,
        {"Driver": "x"},
    ),
    *(
        {"Config": 1},
        [{"Config": []}],
        {"NetworkMode": {}},
        "riscv64",
        "20260101T000000-000000",
        "a/../b",
        "-",
    ),
)
_TEXTS = (
    *(
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"0",
        b"\xff\xfe[\0",
        b"\xef\xbb\xbf{}",
        b"1 2 3\nx",
        b"1" * 21 + b" 2 3\n",
    ),
    *(
        b'["../x"]',
        b'["/etc/passwd"]',
        b'["a", "a"]',
        b'["link/x"]',
        b'["\\ud800"]',
        b'["a\\u0000b"]',
        b"[" * 5000,
    ),
    *(
        b"[" * 200_000,
        b'{"a":' * 3000,
        b"9" * 5000,
        b"\0" * 512,
        b"1e999",
        b"-",
        b'{"a": 1, "a": 2',
        b"[1e400]",
    ),
)
_JSON = (".json", ".dump", "deleted.files")


class Draft:
    """An archive that is being damaged: its members, and whether the manifest is to agree with them in the end."""

    def __init__(self, whole: Whole, random_: random.Random, outside: str) -> None:
        self.whole = whole
        self.pieces = list(whole.pieces)
        self.manifest: Any = whole.manifest
        self.vouched = False
        self.text: bytes | None = None
        """The manifest, where it is not what `manifest` says."""
        self.random = random_
        self.outside = outside

    def place(self) -> int:
        """One of the members."""
        return self.random.randrange(len(self.pieces))

    def replace(self, place: int, data: bytes) -> None:
        """Another content of a member, with a header that agrees."""
        self.pieces[place] = plain(self.pieces[place].name, data)

    def built(self) -> bytes:
        """The archive as it has become."""
        manifest = self.manifest
        if self.vouched and isinstance(manifest, dict):
            files = [
                piece for piece in self.pieces if not piece.name.endswith("/") and piece.name != "checkpoint"
            ]
            manifest = {**manifest, "members": [_part(piece) for piece in files]}
        text = self.text if self.text is not None else json.dumps(manifest).encode()
        return joined([*self.pieces, plain(MANIFEST, text)])


def _part(piece: Piece) -> dict[str, Any]:
    return {"name": piece.name, "size": len(piece.data), "sha256": hashlib.sha256(piece.data).hexdigest()}


def odd(random_: random.Random, data: Any) -> Any:
    """The same JSON but for one place in it."""
    path = data
    if not isinstance(path, dict | list) or not path or random_.random() < 0.05:
        return random_.choice(_VALUES)
    if isinstance(path, list):
        found: Any = list(path)
        key: Any = random_.randrange(len(found))
    else:
        found, key = dict(path), random_.choice(list(path))
    kind = random_.random()
    if kind < 0.1:
        del found[key]
    elif kind < 0.15 and isinstance(found, dict):
        found[random_.choice(("x", "", "\n", "Config"))] = random_.choice(_VALUES)
    elif kind < 0.55 and isinstance(found[key], dict | list):
        found[key] = odd(random_, found[key])
    else:
        found[key] = random_.choice(_VALUES)
    return found


def written(random_: random.Random, data: Any) -> bytes:
    """JSON with what json.dumps does not write."""
    text = json.dumps(data)
    if _DEEP in text:
        depth = random_.choice((50, 400, 900, 990, 5000))
        text = text.replace(f'"{_DEEP}"', "[" * depth + "]" * depth)
    return text.encode()


def _json(draft: Draft) -> None:
    """A description with another value somewhere, which the manifest vouches for."""
    names = [place for place, piece in enumerate(draft.pieces) if piece.name.endswith(_JSON)]
    if not names:
        return
    place = draft.random.choice(names)
    try:
        data = json.loads(draft.pieces[place].data)
    except (ValueError, RecursionError):
        return
    for _ in range(draft.random.choice((1, 1, 2))):
        data = odd(draft.random, data)
    draft.replace(place, written(draft.random, data))
    draft.vouched = True


def _text(draft: Draft) -> None:
    """A member with other bytes, which the manifest vouches for."""
    place = draft.place()
    data = bytearray(draft.pieces[place].data)
    if draft.random.random() < 0.4:
        data = bytearray(draft.random.choice(_TEXTS))
    else:
        draft.random.choice(DAMAGES)(data, draft.random)
    draft.replace(place, bytes(data))
    draft.vouched = True


def _nested(draft: Draft) -> None:
    """The layer, a volume or the image damaged as an archive, which the manifest vouches for."""
    name = draft.random.choice(sorted(draft.whole.nested))
    inner = list(draft.whole.nested[name])
    if draft.random.random() < 0.7:
        moved(inner, draft.random, draft.outside)
    data = joined(inner)
    if draft.random.random() < 0.5:
        data = scratched(data, draft.random)
    for place, piece in enumerate(draft.pieces):
        if piece.name == name:
            draft.replace(place, data)
    draft.vouched = True


def _members(draft: Draft) -> None:
    """Members moved, left out, doubled, renamed or of another kind."""
    moved(draft.pieces, draft.random, draft.outside)
    draft.vouched = draft.random.random() < 0.5


def _manifest(draft: Draft) -> None:
    """A manifest that says something else."""
    kind = draft.random.random()
    if kind < 0.7:
        draft.text = written(draft.random, odd(draft.random, draft.manifest))
    elif kind < 0.8:
        draft.text = draft.random.choice(_TEXTS)
    else:
        data = bytearray(json.dumps(draft.manifest).encode())
        draft.random.choice(DAMAGES)(data, draft.random)
        draft.text = bytes(data)


def moved(pieces: list[Piece], random_: random.Random, outside: str) -> None:
    """One change to the members of an archive."""
    kind, place, other = random_.randrange(9), random_.randrange(len(pieces)), random_.randrange(len(pieces))
    piece = pieces[place]
    if kind == 0:
        random_.shuffle(pieces)
    elif kind == 1:
        del pieces[place]
    elif kind == 2:
        pieces.insert(other, piece)
    elif kind == 3:
        pieces[place] = plain(a_name(random_, outside), piece.data)
    elif kind == 4:
        target = random_.choice((outside, "../x", "hard", "link"))
        head = with_field(piece.head, "linkname", target.encode())
        pieces[place] = dataclasses.replace(
            piece, head=with_field(head, "type", bytes([random_.choice(KINDS)]))
        )
    elif kind == 5:
        field = random_.choice(list(FIELDS))
        pieces[place] = dataclasses.replace(piece, head=with_field(piece.head, field, a_number(random_)))
    elif kind == 6:
        before = pax(random_, outside, random_.choice((b"x", b"x", b"x", b"g", b"X")))
        pieces[place] = dataclasses.replace(piece, head=before + piece.head)
    elif kind == 7:
        before = chain(random_) if random_.random() < 0.2 else b""
        pieces[place] = dataclasses.replace(piece, head=before + piece.head)
    else:
        pieces.insert(place, hostile(random_, outside))


def scratched(data: bytes, random_: random.Random) -> bytes:
    """An archive's bytes damaged; half the time a header is, and has its checksum mended."""
    damaged = bytearray(data)
    if random_.random() < 0.5 or len(damaged) < BLOCK:
        random_.choice(DAMAGES)(damaged, random_)
        return bytes(damaged)
    blocks = [
        place
        for place in range(0, len(damaged) - BLOCK + 1, BLOCK)
        if damaged[place + 257 : place + 262] == b"ustar"
    ]
    if blocks:
        place = random_.choice(blocks)
        block = damaged[place : place + BLOCK]
        for _ in range(random_.choice((1, 1, 2, 5))):
            block[random_.randrange(345)] = random_.choice(
                (0, 32, 47, 46, 48, 55, 128, 255, random_.randrange(256))
            )
        damaged[place : place + BLOCK] = summed(block)
    return bytes(damaged)


def _nothing(_: Draft) -> None:
    """Bytes are damaged afterwards."""


_DAMAGES: Sequence[tuple[Callable[[Draft], None], float]] = (
    (_nothing, 0.2),
    (_members, 0.25),
    (_json, 0.25),
    (_text, 0.08),
    (_nested, 0.17),
    (_manifest, 0.05),
)


def damaged(whole: Whole, seed: int, outside: str) -> bytes:
    """The archive of this seed; `outside` is a folder that names and links lead to."""
    random_ = random.Random(seed)
    draft = Draft(whole, random_, outside)
    kinds, weights = zip(*_DAMAGES, strict=True)
    chosen = random_.choices(kinds, weights, k=random_.choice((1, 1, 1, 2)))
    for damage in chosen:
        if draft.pieces:
            damage(draft)
    data = draft.built()
    if _nothing in chosen or random_.random() < 0.03:
        data = scratched(data, random_)
    return data
