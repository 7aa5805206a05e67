"""A file system with a few files, each served by an object: the kernel's FUSE protocol, spoken without a library.

For a disk image that a loop device lies on: the loop turns what ext4 sends (writes, flushes) into writes and fsyncs of
that file, one after the other as they are answered. Source of the numbers: include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

MOST_WRITE = 1 << 20
_PAGES = MOST_WRITE // 4096
_VERSION = (7, 31)
_FOPEN_DIRECT_IO = 1
_ASYNC_READ, _BIG_WRITES, _ASYNC_DIO, _MAX_PAGES = 1 << 0, 1 << 5, 1 << 15, 1 << 22
_ROOT = 1

_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_READ_OR_WRITE = struct.Struct("<QQIIQII")

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS = 20, 25, 26, 27, 28, 29, 34
INTERRUPT, DESTROY, BATCH_FORGET = 36, 38, 42
_UNANSWERED = (FORGET, INTERRUPT, BATCH_FORGET)


class Served(Protocol):
    """What a file is made of."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes."""

    def write(self, offset: int, data: memoryview) -> None:
        """All of them, or OSError."""

    def fsync(self) -> None:
        """What has been written is to be durable."""


def mount(target: Path) -> int:
    """Mount a file system that has no server yet; the descriptor is for `serve`. Raises OSError."""
    descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other,max_read={MOST_WRITE}"
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (b"guardian-test", os.fsencode(target), b"fuse", 0, options.encode())
    if libc.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(0), arguments[4]) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))
    return descriptor


def serve(descriptor: int, files: Mapping[str, Served]) -> None:
    """Answer until the file system is unmounted."""
    served = _Serving(files)
    buffer = bytearray(MOST_WRITE + 65536)
    view = memoryview(buffer)
    while True:
        try:
            length = os.readv(descriptor, [buffer])
        except InterruptedError:
            continue
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno in (errno.ENOENT, errno.EAGAIN):
                continue  # the request was interrupted
            raise
        _, operation, unique, node, *_ = _IN.unpack_from(buffer)
        if operation in _UNANSWERED:
            continue
        try:
            answer, status = served.answer(operation, node, view[_IN.size : length]), 0
        except OSError as error:
            answer, status = b"", error.errno or errno.EIO
        os.writev(descriptor, [_OUT.pack(_OUT.size + len(answer), -status, unique), answer])


class _Serving:
    def __init__(self, files: Mapping[str, Served]) -> None:
        self._nodes = {name: number for number, name in enumerate(files, _ROOT + 1)}
        self._files = {self._nodes[name]: file for name, file in files.items()}
        self._operations: dict[int, Callable[[int, memoryview], bytes]] = {
            INIT: self._init,
            LOOKUP: self._lookup,
            GETATTR: lambda node, _: struct.pack("<QII", 0, 0, 0) + self._attributes(node),
            SETATTR: lambda node, _: struct.pack("<QII", 0, 0, 0) + self._attributes(node),
            OPEN: lambda _node, _: struct.pack("<QII", 0, _FOPEN_DIRECT_IO, 0),
            OPENDIR: lambda _node, _: struct.pack("<QII", 0, 0, 0),
            READ: self._read,
            WRITE: self._write,
            FSYNC: self._fsync,
            STATFS: lambda _node, _: struct.pack("<QQQQQIII7I", 0, 0, 0, 0, 0, 4096, 255, 4096, *[0] * 7),
        }
        nothing: Callable[[int, memoryview], bytes] = lambda _node, _: b""  # noqa: E731
        self._operations |= dict.fromkeys((FLUSH, RELEASE, RELEASEDIR, READDIR, ACCESS, DESTROY), nothing)

    def answer(self, operation: int, node: int, body: memoryview) -> bytes:
        """What to answer; raises OSError."""
        if operation not in self._operations:
            raise OSError(errno.ENOSYS, "not served")
        return self._operations[operation](node, body)

    def _init(self, _node: int, body: memoryview) -> bytes:
        _, _, read_ahead, offered = struct.unpack_from("<IIII", body)
        flags = offered & (_ASYNC_READ | _BIG_WRITES | _ASYNC_DIO | _MAX_PAGES)
        return struct.pack(
            "<IIIIHHIIHHI7I", *_VERSION, read_ahead, flags, 64, 48, MOST_WRITE, 1, _PAGES, 0, 0, *[0] * 7
        )

    def _attributes(self, node: int) -> bytes:
        mode, size = stat.S_IFDIR | 0o700, 0
        if node != _ROOT:
            mode, size = stat.S_IFREG | 0o600, self._file(node).size
        return _ATTRIBUTES.pack(node, size, size // 512, *[0] * 6, mode, 1, 0, 0, 0, 4096, 0)

    def _file(self, node: int) -> Served:
        if node not in self._files:
            raise OSError(errno.ENOENT, "no such file")
        return self._files[node]

    def _lookup(self, _node: int, body: memoryview) -> bytes:
        node = self._nodes.get(bytes(body).rstrip(b"\0").decode())
        if node is None:
            raise OSError(errno.ENOENT, "no such file")
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self._attributes(node)

    def _read(self, node: int, body: memoryview) -> bytes:
        _, offset, length, *_ = _READ_OR_WRITE.unpack_from(body)
        return self._file(node).read(offset, length)

    def _write(self, node: int, body: memoryview) -> bytes:
        _, offset, length, *_ = _READ_OR_WRITE.unpack_from(body)
        self._file(node).write(offset, body[_READ_OR_WRITE.size : _READ_OR_WRITE.size + length])
        return struct.pack("<II", length, 0)

    def _fsync(self, node: int, _body: memoryview) -> bytes:
        self._file(node).fsync()
        return b""
