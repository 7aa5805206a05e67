"""Tar archives of hostile origin, read once from front to back: bounded headers, bounded names, bounded output."""

from __future__ import annotations

import contextlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from guardian.model.errors import BadInput

CHUNK = 1 << 16
MOST_UNPACKED = 1 << 40
"""Bytes that an archive may unpack to, holes included; callers that write to a disk have less."""
_MOST_HEADER = 2 << 20
"""Bytes of the headers of one member: long names, attributes, maps of holes."""
_MOST_NAME = 4096
_MOST_DEPTH = 300


class BadArchive(BadInput):
    """An archive that is cut off, lies, or asks for more than it may."""


class Readable(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, none at the end."""


class Forward:
    """What tarfile reads from: only onwards, and headers only as large as they may be."""

    def __init__(self, stream: Readable, most: int) -> None:
        self._stream = stream
        self._at = 0
        self._left = most
        self.header = _MOST_HEADER

    def tell(self) -> int:
        """Bytes read."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Skip what lies between."""
        if whence or offset < self._at:
            raise BadArchive("an archive cannot be read backwards")
        while self._at < offset:
            if not self._take(min(CHUNK, offset - self._at)):
                raise BadArchive("an archive is cut off")
        return self._at

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer at the end."""
        if not 0 <= size <= self.header:
            raise BadArchive("a header in an archive is too large", f"{size} bytes")
        self.header -= size
        parts = []
        while size:
            data = self._take(size)
            if not data:
                break
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def _take(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise BadArchive("an archive does not unpack", str(error)) from error
        self._at += len(data)
        self._left -= len(data)
        if self._left < 0:
            raise BadArchive("an archive unpacks to more than is allowed")
        return data


class Member:
    """A member and its content, which can be had once and only until the next member."""

    def __init__(self, info: tarfile.TarInfo, path: str, chunks: Callable[[], Iterator[bytes]]) -> None:
        self.info = info
        self.path = path
        """Relative, without `.` and `..`; empty for the folder itself."""
        self.chunks = chunks


def inside(name: str) -> str:
    """A member's name as a path below the archive's folder; raises BadArchive for one that leads out."""
    if name.startswith("/") or "\0" in name:
        raise BadArchive(f"{name!r:.100} leads out of its archive")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadArchive(f"{name!r:.100} leads out of its archive")
    if len(name) > _MOST_NAME or len(parts) > _MOST_DEPTH:
        raise BadArchive("a name in an archive is too long", f"{name!r:.100}...")
    return "/".join(parts)


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Whatever tarfile says of an archive as one kind of error."""
    try:
        yield
    except BadArchive:
        raise
    except (tarfile.TarError, ValueError, OverflowError, EOFError, OSError, IndexError, KeyError) as error:
        raise BadArchive("an archive does not parse", f"{error!s:.200}") from error


def members(stream: Readable, *, most: int = MOST_UNPACKED) -> Iterator[Member]:
    """The members of an archive, in order; raises BadArchive. `most`: bytes read, and bytes of files, at most."""
    source = Forward(stream, most)
    left = most
    with _readable():
        archive = tarfile.TarFile(
            fileobj=source,  # type: ignore[arg-type]
            mode="r",
            encoding="utf-8",
            errors="surrogateescape",
        )
    while True:
        source.header = _MOST_HEADER
        with _readable():
            info = archive.next()
        if info is None:
            return
        archive.members = []  # type: ignore[attr-defined] # else they are all kept
        if info.size < 0 or (left := left - info.size) < 0:
            raise BadArchive("an archive unpacks to more than is allowed")
        yield Member(info, inside(info.name), _chunks(archive, source, info))


def _chunks(
    archive: tarfile.TarFile, source: Forward, info: tarfile.TarInfo
) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        if not info.isreg():
            return
        with _readable():
            file = archive.extractfile(info)
            assert file is not None
            left = info.size
            while left:
                source.header = 2 * CHUNK
                data = file.read(min(CHUNK, left))
                if not data:
                    raise BadArchive("an archive is cut off", f"in {info.name!r:.100}")
                left -= len(data)
                yield data

    return read
