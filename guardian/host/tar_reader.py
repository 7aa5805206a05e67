"""Tar archives of hostile origin, read once from front to back: bounded headers, bounded names, bounded output."""

from __future__ import annotations

import contextlib
import os
import re
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
_DIGITS = re.compile(rb"[0-9]{16,}")
_MOST_DIGITS = 1 << 26
"""Squares of the lengths of runs of digits in an extended header, added up: a tarfile without the mending of
CVE-2024-6232 (Python's own 3.11.7) looks at each digit of a run once for each digit before it."""
_MOST_NAME = 4096
_MOST_PART = 255
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
        self.content = False
        """Whether what is read is the content of a member."""

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
        found = b"".join(parts)
        if not self.content and sum(len(run) ** 2 for run in _DIGITS.findall(found)) > _MOST_DIGITS:
            raise BadArchive("a header in an archive has too many digits")
        return found

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
    try:
        longest = max((len(os.fsencode(part)) for part in parts), default=0)
    except UnicodeEncodeError as error:
        raise BadArchive(f"{name!r:.100} is no name of a file") from error
    if len(name) > _MOST_NAME or len(parts) > _MOST_DEPTH or longest > _MOST_PART:
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
    except RecursionError as error:  # tarfile goes one deeper for each header that announces another
        raise BadArchive("an archive does not parse", "too many headers of one member") from error


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
        source.header, source.content = _MOST_HEADER, False
        with _readable():
            info = archive.next()
        if archive.pax_headers:
            # All that follow would be given them: a small archive that takes hours. Nothing of ours has any.
            raise BadArchive("an archive has headers for all its members")
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
                source.header, source.content = 2 * CHUNK, True
                data = file.read(min(CHUNK, left))
                if not data:
                    raise BadArchive("an archive is cut off", f"in {info.name!r:.100}")
                left -= len(data)
                yield data

    return read
