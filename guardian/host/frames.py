"""Frames on a pipe: messages of JSON and streams of bytes, one after the other, as two guardians talk over ssh.

A frame is a letter, a length (four bytes, the highest first) and that many bytes: J is a message; a stream is its J,
then D with its bytes as often as it takes, then E; or A, where its writer could not go on.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from guardian.host.tree import Write
from guardian.model import json_text
from guardian.model.errors import BadInput, GuardianError

MOST_MESSAGE = 64 << 20
MOST_DATA = 4 << 20
_HEAD = struct.Struct(">cI")
_PORTION = 1 << 20
_WRITE_OUT = 32 << 20


class LinkLost(GuardianError):
    """The other end is gone, or says nothing in time."""


class Output:
    """The end of a pipe that is written to. Thread-safe for messages; a stream has it alone until it ends."""

    def __init__(self, descriptor: int, passed: Callable[[int], None] = lambda _: None) -> None:
        """`passed` is told of bytes, once they are on their way."""
        self._descriptor = descriptor
        self.passed = passed
        self._lock = threading.RLock()
        widen(descriptor)

    def message(self, data: Mapping[str, Any]) -> None:
        """One message; raises LinkLost."""
        with self._lock:
            self._frame(b"J", json.dumps(data).encode())

    @contextlib.contextmanager
    def stream(self, head: Mapping[str, Any]) -> Iterator[Write]:
        """A stream of bytes under a head; an exception in the block is told to the reader. Raises LinkLost."""
        with self._lock:
            self._frame(b"J", json.dumps(head).encode())
            waiting = bytearray()

            def write(data: bytes) -> None:
                waiting.extend(data)
                while len(waiting) >= _PORTION:
                    self._frame(b"D", bytes(waiting[:_PORTION]))
                    del waiting[:_PORTION]

            try:
                yield write
            except BaseException:
                with contextlib.suppress(LinkLost):
                    self._frame(b"A", b"")
                raise
            if waiting:
                self._frame(b"D", bytes(waiting))
            self._frame(b"E", b"")

    @contextlib.contextmanager
    def file(self, head: Mapping[str, Any], path: Path) -> Iterator[Callable[[], int]]:
        """A file that may still grow, as a stream: each call sends what is new of it and returns how much that was."""
        with contextlib.closing(_Source(path)) as source, self.stream(head):

            def more() -> int:
                sent = 0
                while size := min(source.left(), _PORTION):
                    self._head(b"D", size)
                    source.send(self._descriptor, size)
                    self.passed(size)
                    sent += size
                return sent

            yield more

    def _frame(self, kind: bytes, data: bytes) -> None:
        self._head(kind, len(data))
        self._all(data)
        self.passed(len(data))

    def _head(self, kind: bytes, size: int) -> None:
        self._all(_HEAD.pack(kind, size))

    def _all(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise LinkLost("the other host is gone", error.strerror or "") from error


class _Source:
    """A file on its way out: through the kernel where it can."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._at = 0
        self._copies = True

    def left(self) -> int:
        return os.fstat(self._descriptor).st_size - self._at

    def send(self, target: int, size: int) -> None:
        end = self._at + size
        try:
            while self._at < end:
                done = self._some(target, end - self._at)
                if not done:
                    raise GuardianError("a file became shorter while it was sent")
                self._at += done
        except BrokenPipeError as error:
            raise LinkLost("the other host is gone", error.strerror or "") from error

    def _some(self, target: int, size: int) -> int:
        if self._copies:
            try:
                return os.sendfile(target, self._descriptor, self._at, size)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS):
                    raise
                self._copies = False
        return os.write(target, os.pread(self._descriptor, size, self._at))

    def close(self) -> None:
        os.close(self._descriptor)


class Input:
    """The end of a pipe that is read from. What it is told is hostile until somebody has parsed it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._limit = 0.0
        self._buffer = memoryview(bytearray(_PORTION))
        self._splices = widen(descriptor)

    def message(self, *, limit: float) -> dict[str, Any]:
        """The next message; raises LinkLost at the end, or where nothing comes for `limit` seconds, and BadInput."""
        self._limit = limit
        kind, size = self._next()
        if kind != b"J" or size > MOST_MESSAGE:
            raise BadInput("the other host says what is not understood", f"{kind!r}, {size} bytes")
        try:
            found = json_text.loads(self._exactly(size))
        except ValueError as error:
            raise BadInput("the other host says what is not understood", f"{error!s:.100}") from error
        if not isinstance(found, dict):
            raise BadInput("the other host says what is not understood", "no object")
        return found

    def stream(self, *, limit: float) -> Stream:
        """The bytes of the stream whose head was the last message."""
        self._limit = limit
        return Stream(self._piece)

    def to_file(self, path: Path, *, limit: float, passed: Callable[[int], None] = lambda _: None) -> None:
        """Write the stream whose head was the last message into a new file, mode 0600; `passed` is told of bytes."""
        self._limit = limit
        length = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.closing(_Target(os.open(path, flags, 0o600))) as target:
            while size := self._piece_size():
                length += size
                passed(size)
                while size:
                    size -= self._into(target, size)
                target.write_out(length)

    def _into(self, target: _Target, size: int) -> int:
        """Write what is there, at most `size` bytes, into a file: gigabytes of memory come by here."""
        if self._splices:
            self._wait()
            try:
                if done := os.splice(self.descriptor, target.descriptor, size):
                    return done
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._splices = False
            else:
                raise LinkLost("the other host is gone")
        rest = self._buffer[: self._some(self._buffer[:size])]
        size = len(rest)
        while rest:
            rest = rest[os.write(target.descriptor, rest) :]
        return size

    def _piece_size(self) -> int:
        """Bytes of the next piece of a stream, 0 at its end."""
        kind, size = self._next()
        if kind == b"E":
            return 0
        if kind == b"A":
            raise LinkLost("the other host could not go on")
        if kind != b"D" or not 0 < size <= MOST_DATA:
            raise BadInput("the other host says what is not understood", f"{kind!r}, {size} bytes")
        return size

    def _piece(self) -> bytes:
        return self._exactly(self._piece_size())

    def _next(self) -> tuple[bytes, int]:
        kind, size = _HEAD.unpack(self._exactly(_HEAD.size))
        return kind, size

    def _exactly(self, size: int) -> bytes:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            rest = rest[self._some(rest) :]
        return bytes(data)

    def _some(self, into: memoryview) -> int:
        """Read at least one byte; returns how many."""
        self._wait()
        try:
            got = os.readv(self.descriptor, [into])
        except OSError as error:
            raise LinkLost("the other host is gone", error.strerror or "") from error
        if not got:
            raise LinkLost("the other host is gone")
        return got

    def _wait(self) -> None:
        if not select.select([self.descriptor], [], [], self._limit)[0]:
            raise LinkLost("the other host says nothing", f"for {self._limit:.0f} s")


class _Target:
    """A file on its way in. It has to be on the disk before long: what is there already need not be waited for then."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._begun = 0
        self._thread: threading.Thread | None = None

    def write_out(self, length: int) -> None:
        """So much is there: have the kernel begin to write it, in a thread, for where the disk is slow that blocks."""
        if length - self._begun < _WRITE_OUT or (self._thread is not None and self._thread.is_alive()):
            return
        self._begun = length
        self._thread = threading.Thread(target=_begin_writing, args=(self.descriptor,))
        self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join()
        os.close(self.descriptor)


def give_way() -> None:
    """Have this process and what it starts wait for their turn: they interrupt nobody who wakes them (sched(7)).

    ssh hands over 32 KiB at a time: taken one by one, each costs two switches between processes.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def widen(descriptor: int) -> bool:
    """Have a pipe hold a portion, not 16 pages: fewer turns between its two ends. Returns whether it is a pipe."""
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return False
    with contextlib.suppress(OSError):  # the user may have no more such pipes (fs.pipe-user-pages-soft)
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PORTION)
    return True


_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None, use_errno=True)


def _begin_writing(descriptor: int) -> None:
    """Have the kernel begin to write a file out, without waiting for it (sync_file_range(2)); promises nothing."""
    whole = ctypes.c_int64(0)
    _libc.sync_file_range(descriptor, whole, whole, _SYNC_FILE_RANGE_WRITE)


class Stream:
    """The bytes of one stream."""

    def __init__(self, piece: Callable[[], bytes]) -> None:
        self._piece = piece
        self._rest = memoryview(b"")
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, none at the end."""
        if not self._rest and not self._ended:
            self._rest = memoryview(self._piece())
            self._ended = not self._rest
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def pieces(self) -> Iterator[bytes]:
        """All that is left, as it comes."""
        while data := self.read(MOST_DATA):
            yield data

    def drain(self) -> None:
        """Read to the end."""
        for _ in self.pieces():
            pass


class Progress:
    """Counts bytes that pass and says now and then how it goes. Thread-safe."""

    def __init__(self, say: Callable[[str], None], *, every: float) -> None:
        self._say = say
        self._every = every
        self._begun = self._last = time.monotonic()
        self._expected = 0
        self.bytes = 0

    def expect(self, more: int) -> None:
        """So many bytes are still to come."""
        self._expected = self.bytes + more

    def passed(self, size: int) -> None:
        """So many bytes have passed."""
        self.bytes += size
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._say(self.line(now))

    def line(self, now: float) -> str:
        """Bytes, rate and the time left."""
        rate = self.bytes / max(now - self._begun, 0.001)
        left = max(0, self._expected - self.bytes)
        text = f"{self.bytes / (1 << 20):.0f} MiB, {rate / (1 << 20):.0f} MiB/s"
        return f"{text}, {left / rate:.0f} s left" if left and rate else text


class Pace:
    """How the bytes of something come whose size is known roughly."""

    _SETTLED: ClassVar[float] = 0.5
    """Seconds after which a rate tells something."""

    def __init__(self, expected: int, *, ahead: float) -> None:
        self._expected = expected
        self._ahead = ahead
        self._begun = 0.0
        self._got = 0

    def nearly(self, size: int) -> bool:
        """So many bytes more are about to come: whether the rest will take no more than `ahead` seconds."""
        now = time.monotonic()
        self._begun = self._begun or now
        rate = self._got / max(now - self._begun, self._SETTLED)
        self._got += size
        return self._expected - self._got <= rate * self._ahead
