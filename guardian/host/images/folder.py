"""A folder of CRIU's images, read message by message; an image that lies about a length is an error, never a crash.

Format (CRIU lib/pycriu/images/images.py): one or two magic numbers, then messages of protocol buffers, each behind its
length; some are followed by data whose length the message says.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from pycriu.images import magic, pb

from guardian.host import chain
from guardian.model.errors import BadInput

MOST_READ = 512 << 20
"""Bytes of an image that is read as a whole; those that hold pages or file contents are not."""
_MOST_MESSAGE = 64 << 20
_NUMBER = struct.Struct("<I")
_LEADING = ("IMG_COMMON", "IMG_SERVICE")

Message = Any
"""A message of protocol buffers, as pycriu has them."""


class BadImage(BadInput):
    """An image that is not there, cut off, or not what its name says."""

    name = "BadImage"


@dataclasses.dataclass(frozen=True)
class Data:
    """Bytes in a file that belong to a message: not read until asked for."""

    file: Path
    offset: int
    length: int

    def read(self, *, most: int) -> bytes:
        """The first `most` bytes."""
        with open_image(self.file) as descriptor:
            return os.pread(descriptor.fileno(), min(self.length, most), self.offset)


def open_image(path: Path) -> Any:
    """A regular file for reading, no link; raises BadImage."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadImage(f"{path.name} cannot be read", error.strerror or "") from error
    file = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise BadImage(f"{path.name} is no regular file")
    return file


class Folder:
    """The images of one dump."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """The files in it."""
        try:
            return sorted(os.listdir(self.path))
        except OSError as error:
            raise BadImage("the images cannot be read", str(error)) from error

    def sizes(self) -> dict[str, int]:
        """Bytes of each file, those of the steps that were written ahead as well."""
        try:
            found = dict(chain.entries(self.path))
            return {name: entry.stat(follow_symlinks=False).st_size for name, entry in found.items()}
        except OSError as error:
            raise BadImage("the images cannot be read", str(error)) from error

    def has(self, name: str) -> bool:
        """Whether there is an image of this name."""
        return os.path.lexists(self.path / name)

    def messages(self, name: str, kind: str, of: type[Message]) -> Iterator[Message]:
        """The messages of an image whose magic number is that of `kind`."""
        for message, _ in self.with_data(name, kind, of, lambda _: 0):
            yield message

    def one(self, name: str, kind: str, of: type[Message]) -> Message:
        """The first message of an image."""
        for message in self.messages(name, kind, of):
            return message
        raise BadImage(f"{name} is empty")

    def with_data(
        self, name: str, kind: str, of: type[Message], length: Callable[[Message], int]
    ) -> Iterator[tuple[Message, Data]]:
        """The messages of an image, each with the data that follows it, which is not read."""
        with open_image(self.path / name) as file:
            offset = check_magic(file.fileno(), name, kind)
        yield from self.behind(name, offset, of, length)

    def behind(
        self, name: str, offset: int, of: type[Message], length: Callable[[Message], int]
    ) -> Iterator[tuple[Message, Data]]:
        """The messages of an image from an offset on, each with the data that follows it, which is not read."""
        with open_image(self.path / name) as file:
            end = os.fstat(file.fileno()).st_size
            reader = _Reader(file.fileno(), name, end)
            while offset < end:
                message, offset = reader.message(offset, of)
                size = int(length(message))
                if size < 0 or offset + size > end:
                    raise BadImage(f"{name} is cut off", f"{size} bytes at {offset} are not there")
                yield message, Data(self.path / name, offset, size)
                offset += size

    def pagemap(self, name: str) -> tuple[int, Iterator[Message]]:
        """The number of the pages' file, and the entries of a pagemap."""
        with open_image(self.path / name) as file:
            end = os.fstat(file.fileno()).st_size
            if end > MOST_READ:
                raise BadImage(f"{name} is too large", f"{end} bytes")
            offset = check_magic(file.fileno(), name, "PAGEMAP")
            reader = _Reader(file.fileno(), name, end)
            head, offset = reader.message(offset, pb.pagemap_head)
            rest = os.pread(file.fileno(), end - offset, offset)
        return int(head.pages_id), _entries(rest, name)


def _entries(rest: bytes, name: str) -> Iterator[Message]:
    """Small messages, one after the other: parsed in memory, there may be hundreds of thousands."""
    offset, end, number = 0, len(rest), _NUMBER
    while offset < end:
        if end - offset < 4:
            raise BadImage(f"{name} is cut off")
        (size,) = number.unpack_from(rest, offset)
        offset += 4
        if size > end - offset:
            raise BadImage(f"{name} is cut off", f"a message of {size} bytes is not there")
        yield _parse(pb.pagemap_entry, rest[offset : offset + size], name)
        offset += size


def check_magic(descriptor: int, name: str, kind: str) -> int:
    """The offset behind the magic numbers; raises BadImage where they are not those of `kind`."""
    head = os.pread(descriptor, 8, 0)
    found = [value for (value,) in _NUMBER.iter_unpack(head[: len(head) // 4 * 4])]
    leading = [magic.by_name[each] for each in _LEADING]
    place = 1 if found[:1] and found[0] in leading else 0
    if len(found) <= place or found[place] != magic.by_name[kind]:
        raise BadImage(f"{name} has the wrong magic number", f"it is no {kind} image")
    return 4 * (place + 1)


def _parse(of: type[Message], data: bytes, name: str) -> Message:
    message = of()
    try:
        message.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise BadImage(f"{name} does not parse", str(error)) from error
    if not message.IsInitialized():
        raise BadImage(f"{name} does not parse", "a required field is missing")
    return message


class _Reader:
    """Reads messages of one open image."""

    def __init__(self, descriptor: int, name: str, end: int) -> None:
        self._descriptor = descriptor
        self._name = name
        self._end = end

    def message(self, offset: int, of: type[Message]) -> tuple[Message, int]:
        """The message at an offset, and the offset behind it."""
        head = os.pread(self._descriptor, 4, offset)
        if len(head) < 4:
            raise BadImage(f"{self._name} is cut off")
        (size,) = _NUMBER.unpack(head)
        if size > _MOST_MESSAGE or offset + 4 + size > self._end:
            raise BadImage(f"{self._name} is cut off", f"a message of {size} bytes at {offset} is not there")
        data = os.pread(self._descriptor, size, offset + 4)
        return _parse(of, data, self._name), offset + 4 + size
