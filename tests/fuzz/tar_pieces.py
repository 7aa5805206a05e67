"""Tar archives in pieces that can be moved about, and headers that no honest program writes."""

from __future__ import annotations

import dataclasses
import io
import random
import tarfile
from collections.abc import Sequence

BLOCK = 512
END = bytes(2 * BLOCK)
FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "type": (156, 1),
    "linkname": (157, 100),
    "magic": (257, 8),
    "devmajor": (329, 8),
    "devminor": (337, 8),
    "prefix": (345, 155),
}
_SUM = (148, 8)
KINDS = b"0\x001234567LKSDMNVxgXAZ\xff "
_NUMBERS = (
    *(b"7" * 12, b"\x80" + b"\0" * 11, b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\xff" + b"\0" * 11),
    *(
        b"\0" * 12,
        b" " * 12,
        b"-1",
        b"89",
        b"1_0",
        b"0x10",
        b"00000002000\0",
        b"\x80\0\0\0\x7f" + b"\xff" * 7,
    ),
)
_NAMES = (
    *("../evil", "checkpoint/../../evil", "..", ".", "", "/", "//evil", "a/..", "./proof", "checkpoint//x"),
    *(
        "checkpoint",
        "guardian",
        "guardian/volumes",
        "checkpoint/",
        "checkpoint/a/b",
        ".hidden",
        "a b",
        "a\nb",
    ),
    *("\x1b[2J", "n" * 100, "n" * 101, "n" * 5000, "a/" * 400 + "x", "d/" * 200 + "x", "caf\u00e9", "\udcff"),
    *("guardian/manifest.json", "guardian/volumes/kept.tar", "guardian/image.tar.000001", "rootfs-diff.tar"),
    *(
        "{outside}/evil",
        "checkpoint/{outside}/evil",
        "checkpoint/x",
        "guardian/x",
        "config.dump",
        "link/evil",
    ),
)
_SIZES = (0, 1, 1000, 1 << 20, 1 << 33, 1 << 50, 1 << 62)
_PAX_NUMBERS = ("0", "-1", "1" * 30, "9" * 2000, "1e999", "nan", "inf", "-0.5", "", "x", "1.5", str(1 << 62))
_PAX_KEYS = (
    *("path", "linkpath", "size", "mtime", "uid", "gid", "uname", "hdrcharset", "comment", "x", "\u00e9"),
    *("GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize", "GNU.sparse.size"),
    *("GNU.sparse.map", "GNU.sparse.offset", "GNU.sparse.numbytes", "GNU.sparse.numblocks"),
    *("SCHILY.xattr.user.x", "SCHILY.xattr.trusted.overlay.opaque", "SCHILY.xattr.", "SCHILY.xattr.user.\0"),
    *("SCHILY.xattr.security.capability", "SCHILY.xattr.system.posix_acl_access"),
)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A member as it stands in an archive: all its headers, and its content, not yet padded."""

    name: str
    head: bytes
    data: bytes

    @property
    def raw(self) -> bytes:
        """As it is written."""
        return self.head + self.data + bytes(-len(self.data) % BLOCK)


def pieces_of(archive: bytes) -> list[Piece]:
    """The members of a good archive."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for info in tar:
            # TarInfo.size of a sparse file is not what it takes up.
            end = tar.offset
            data = archive[info.offset_data : end if info.sparse else info.offset_data + info.size]
            found.append(Piece(info.name, archive[info.offset : info.offset_data], data))
    return found


def joined(pieces: Sequence[Piece]) -> bytes:
    """An archive of them."""
    return b"".join([*(piece.raw for piece in pieces), END])


def summed(block: bytes | bytearray) -> bytes:
    """A header with the checksum that it should have."""
    start, length = _SUM
    blank = bytes(block[:start]) + b" " * length + bytes(block[start + length :])
    return blank[:start] + b"%06o\0 " % sum(blank) + blank[start + length :]


def with_field(head: bytes, field: str, value: bytes) -> bytes:
    """A member's headers with another value in a field of the last one, and a right checksum."""
    start, length = FIELDS[field]
    block = bytearray(head[-BLOCK:])
    block[start : start + length] = value[:length].ljust(length, b"\0")
    return head[:-BLOCK] + summed(block)


def plain(name: str, data: bytes) -> Piece:
    """An ordinary member."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    return Piece(name, info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"), data)


def a_name(random_: random.Random, outside: str) -> str:
    """A name that leads out, is too long, or is in the way."""
    return random_.choice(_NAMES).format(outside=outside)


def a_number(random_: random.Random) -> bytes:
    """What a field of numbers should not hold."""
    return random_.choice(_NUMBERS) if random_.random() < 0.8 else random_.randbytes(12)


def pax(random_: random.Random, outside: str, kind: bytes = b"x") -> bytes:
    """An extended header with records of every kind, now and then with lengths that lie."""
    records = []
    for _ in range(random_.choice((0, 1, 1, 2, 3, 6))):
        key = random_.choice(_PAX_KEYS)
        record = b"%s=%s" % (key.encode(), _pax_value(key, random_, outside))
        records.append(_record(record, random_))
    data = b"".join(records)
    size = len(data) if random_.random() < 0.95 else random_.choice((0, 1, 511, 1 << 20, 1 << 33))
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % BLOCK)


def _record(text: bytes, random_: random.Random) -> bytes:
    length = len(text) + 2
    length += len(str(length + len(str(length))))
    if random_.random() < 0.05:
        length = random_.choice((0, 1, 4, length - 1, length + 1, 10**6, 10**30))
    return b"%d %s\n" % (length, text)


def _pax_value(key: str, random_: random.Random, outside: str) -> bytes:
    if key in ("path", "linkpath", "GNU.sparse.name"):
        return a_name(random_, outside).encode("utf-8", "surrogateescape")
    if key == "GNU.sparse.map":
        numbers = [
            random_.choice((0, 1, 512, -1, -512, 1 << 40, 1 << 70, 10))
            for _ in range(random_.choice((0, 1, 2, 4, 9)))
        ]
        return ",".join(map(str, numbers)).encode()
    if key == "GNU.sparse.major":
        return random_.choice((b"1", b"1", b"0", b"2"))
    if key == "GNU.sparse.minor":
        return random_.choice((b"0", b"0", b"1"))
    if key.startswith("SCHILY") or key in ("comment", "x", "hdrcharset"):
        return random_.choice((b"", b"BINARY", b"\xff\0", random_.randbytes(30), b"y" * 3000))
    return random_.choice(_PAX_NUMBERS).encode()


def sparse(random_: random.Random, outside: str) -> Piece:
    """A sparse file of one of the three kinds, with a map that lies."""
    data = random_.randbytes(random_.choice((0, 5, 512, 1500)))
    kind = random_.randrange(3)
    if kind == 0:
        return _old_sparse(random_, data)
    if kind == 1:
        return Piece("hole", pax(random_, outside) + plain("GNUSparseFile.0/hole", data).head, data)
    numbers = [random_.choice((0, 1, 512, 1 << 20, 1 << 40, -1)) for _ in range(random_.choice((1, 2, 3, 5)))]
    place = "".join(f"{number}\n" for number in (len(numbers) // 2, *numbers)).encode()
    info = tarfile.TarInfo("GNUSparseFile.0/hole")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": random_.choice(("hole", a_name(random_, outside)[:200])),
        "GNU.sparse.realsize": str(random_.choice(_SIZES)),
    }
    data = place + bytes(-len(place) % BLOCK) + data
    info.size = len(data)
    return Piece("hole", info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"), data)


def _old_sparse(random_: random.Random, data: bytes) -> Piece:
    """GNU tar's own kind: the map in the header, and whether it goes on behind it."""
    piece = plain("hole", data)
    block = bytearray(piece.head)
    for place in range(386, 386 + 4 * 24, 12):
        block[place : place + 12] = a_number(random_).ljust(12, b"\0")
    block[482] = random_.choice((0, 0, 1))
    block[483:495] = b"%011o\0" % (random_.choice(_SIZES) % (1 << 33))
    return Piece("hole", with_field(with_field(bytes(block), "magic", b"ustar  \0"), "type", b"S"), data)


def hostile(random_: random.Random, outside: str) -> Piece:
    """A member that should not be there."""
    return random_.choice((sparse, behind_a_link, _named, _announced, _chained, _lying, _of_a_kind))(
        random_, outside
    )


def _named(random_: random.Random, outside: str) -> Piece:
    return plain(a_name(random_, outside), random_.randbytes(random_.choice((0, 4, 700))))


def _announced(random_: random.Random, outside: str) -> Piece:
    piece = _named(random_, outside)
    return dataclasses.replace(
        piece, head=pax(random_, outside, random_.choice((b"x", b"x", b"g"))) + piece.head
    )


def _chained(random_: random.Random, outside: str) -> Piece:
    piece = _named(random_, outside)
    return dataclasses.replace(piece, head=chain(random_) + piece.head)


def _lying(random_: random.Random, outside: str) -> Piece:
    piece = _named(random_, outside)
    head = with_field(piece.head, random_.choice(list(FIELDS)), a_number(random_))
    return dataclasses.replace(piece, head=head)


def _of_a_kind(random_: random.Random, outside: str) -> Piece:
    name = a_name(random_, outside)
    head = with_field(plain(name[:90], b"").head, "type", bytes([random_.choice(KINDS)]))
    target = random_.choice((outside, "/etc/shadow", "..", "", "x" * 99, a_name(random_, outside)))
    head = with_field(head, "linkname", target.encode("utf-8", "surrogateescape"))
    return Piece(name, with_field(head, "devmajor", random_.choice((b"0000000\0", b"0000010\0"))), b"")


def behind_a_link(random_: random.Random, outside: str) -> Piece:
    """A link out of the folder, and what is to be made behind it: a file, a folder, or another link to a file there."""
    target = random_.choice((f"{outside}/folder", outside, "..", "../..", "/dev/shm", "."))
    link = with_field(with_field(plain("out", b"").head, "type", b"2"), "linkname", target.encode())
    name = random_.choice(("out/evil", "out", "out/folder/evil", "out/canary"))
    inner = plain(name, b"evil" if random_.random() < 0.5 else b"")
    kind = random_.choice(b"00512367")
    head = with_field(with_field(inner.head, "type", bytes([kind])), "linkname", b"out/canary")
    return Piece(name, link + head, inner.data)


def chain(random_: random.Random) -> bytes:
    """Headers that announce headers: long names and extended headers, one behind the other."""
    kind = random_.choice(b"LKxX")
    info = tarfile.TarInfo("././@LongLink")
    info.type = bytes([kind])
    return info.tobuf(tarfile.GNU_FORMAT) * random_.choice((1, 2, 30, 400, 3000))
