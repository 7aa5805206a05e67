"""Archives of hostile origin end in BadArchive, never in a crash, a hang or memory that grows."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.host.tar_reader import BadArchive, inside, members


def archive(*items: tuple[str, dict[str, Any]], content: bytes = b"x" * 700) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for name, changes in items:
            info = tarfile.TarInfo(name)
            for key, value in changes.items():
                setattr(info, key, value)
            info.size = 0 if changes.get("type") else len(content)
            out.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def read(data: bytes, most: int = 1 << 24) -> list[tuple[str, bytes]]:
    return [(item.path, b"".join(item.chunks())) for item in members(io.BytesIO(data), most=most)]


GOOD = archive(("./a", {}), ("b/" + "n" * 200, {}), ("link", {"type": tarfile.SYMTYPE, "linkname": "/etc"}))


def test_what_is_good_is_read() -> None:
    assert read(GOOD) == [("a", b"x" * 700), ("b/" + "n" * 200, b"x" * 700), ("link", b"")]


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../x", "a/..", "b/" * 400 + "x", "n" * 5000, "b/" + "n" * 256]
)
def test_names_that_lead_out_or_too_far(name: str) -> None:
    with pytest.raises(BadArchive):
        inside(name)
    with pytest.raises(BadArchive):
        read(archive((name, {})))


def test_a_header_that_wants_gigabytes() -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    tracemalloc.start()
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGLINK):
        info.type = kind
        with pytest.raises(BadArchive, match="header"):
            read(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20), most=1 << 40)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_a_bomb_ends_at_the_limit() -> None:
    bomb = gzip.compress(archive(("zeros", {}), content=bytes(1 << 23)))
    with pytest.raises(BadArchive, match="more than is allowed"):
        list(members(gzip.GzipFile(fileobj=io.BytesIO(bomb)), most=1 << 20))
    hole = tarfile.TarInfo("GNUSparseFile.0/x")
    hole.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "x",
        "GNU.sparse.realsize": str(1 << 60),
    }
    hole.size = 512
    text = f"1\n{1 << 60}\n0\n".encode()
    with pytest.raises(BadArchive, match="more than is allowed"):
        read(hole.tobuf(tarfile.PAX_FORMAT) + text + bytes(512 - len(text)) + bytes(1024), most=1 << 30)


def header(kind: bytes, data: bytes = b"") -> bytes:
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, len(data)
    return info.tobuf() + data + bytes(-len(data) % 512)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE])
def test_headers_that_announce_headers_without_end(kind: bytes) -> None:
    with pytest.raises(BadArchive):
        read(header(kind) * 3000 + GOOD)


def test_headers_for_all_members() -> None:
    """Each member would be given all of them: seconds a member."""
    with pytest.raises(BadArchive, match="for all its members"):
        read(header(tarfile.XGLTYPE, b"9 a=bcde\n" * 100_000) + GOOD)


def test_digits_without_end() -> None:
    digits = b"1" * 1_000_000
    with pytest.raises(BadArchive, match="digits"):
        read(header(tarfile.XHDTYPE, b"1000019 comment=" + digits + b"\n") + GOOD)
    assert read(archive(("digits", {}), content=digits)) == [("digits", digits)]


def test_members_are_not_kept() -> None:
    one = tarfile.TarInfo("x").tobuf()
    tracemalloc.start()
    assert sum(1 for _ in members(io.BytesIO(one * 5000))) == 5000
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@given(st.data())
def test_damage_is_an_error_or_another_archive(data: st.DataObject) -> None:
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(GOOD) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(GOOD)))
    for version in (bytes(damaged), GOOD[:cut]):
        try:
            for path, _ in read(version):
                assert not path.startswith("/")
                assert ".." not in path.split("/")
        except BadArchive as error:
            assert "\n" not in str(error)


@given(st.binary(max_size=2048))
def test_anything_at_all(data: bytes) -> None:
    with contextlib.suppress(BadArchive):
        read(data)
    with contextlib.suppress(BadArchive):
        list(members(gzip.GzipFile(fileobj=io.BytesIO(data))))
