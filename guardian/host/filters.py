"""Compression and encryption by the programs zstd and age: streams through pipes, nothing on disk."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from guardian.host.command import CommandFailed
from guardian.host.tar_reader import BadArchive, Readable
from guardian.host.tree import Write
from guardian.model.errors import BadInput

_ZSTD = b"\x28\xb5\x2f\xfd"
_AGE = b"age-encryption.org/v1"
_CHUNK = 1 << 20
_LIMIT = 60.0
"""Seconds for a program to end once its input has."""


@contextlib.contextmanager
def encoded(file: BinaryIO, *, compress: bool, recipient: str) -> Iterator[Write]:
    """What is written goes into `file`, compressed and (where there is a recipient) encrypted.

    `recipient` is a public key of age's or ssh's, or a file with some. Raises CommandFailed.
    """
    with contextlib.ExitStack() as stack:
        target = file
        if recipient:
            how = ("-r", recipient) if recipient.startswith(("age1", "ssh-")) else ("-R", recipient)
            target = stack.enter_context(_writing(("age", *how), target))
        if compress:
            # -T0: all CPUs; compression is what takes the time.
            target = stack.enter_context(_writing(("zstd", "-q", "-3", "-T0", "-c"), target))
        yield target.write


@contextlib.contextmanager
def _writing(argv: Sequence[str], target: BinaryIO) -> Iterator[BinaryIO]:
    target.flush()
    process = _started(argv, stdin=subprocess.PIPE, stdout=target)
    assert process.stdin is not None
    try:
        yield process.stdin  # type: ignore[misc]
        process.stdin.close()
        problem = _problem(process)
    except BrokenPipeError as error:
        raise CommandFailed(f"{argv[0]} failed", _problem(process) or str(error)) from error
    finally:
        _end(process)
    if problem:
        raise CommandFailed(f"{argv[0]} failed", problem)


@contextlib.contextmanager
def decoded(source: BinaryIO, *, identity: str) -> Iterator[Readable]:
    """What `encoded` was given, from what it wrote; raises BadInput where a key is wanted and none given.

    Its end raises BadArchive where a program was not content with what it was given.
    """
    stream = _Ahead(source)
    with contextlib.ExitStack() as stack:
        programs: list[subprocess.Popen[bytes]] = []
        if stream.begins(_AGE):
            if not identity:
                raise BadInput("the archive is encrypted", "no key was given", hint="--identity FILE")
            stream = stack.enter_context(_reading(("age", "-d", "-i", identity), stream, programs))
        if stream.begins(_ZSTD):
            how = ("zstd", "-d", "-q", "-c", "--memory=128MB")
            stream = stack.enter_context(_reading(how, stream, programs))
        yield Decoded(stream, programs)


class _Ahead:
    """A stream whose beginning can be looked at. Reads what is there, so that a pipe does not stall."""

    def __init__(self, source: BinaryIO) -> None:
        self._read = getattr(source, "read1", source.read)
        self._head = b""

    def begins(self, magic: bytes) -> bool:
        """Whether it begins so."""
        while len(self._head) < len(magic) and (data := self._read(len(magic))):
            self._head += data
        return self._head.startswith(magic)

    def read(self, size: int, /) -> bytes:
        """At least one byte, none at the end."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return bytes(self._read(size))


class Decoded:
    """A stream that comes through programs."""

    def __init__(self, stream: Readable, programs: Sequence[subprocess.Popen[bytes]]) -> None:
        self._stream = stream
        self._programs = programs

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; raises BadArchive at an end that a program complains of."""
        data = self._stream.read(size)
        if not data:
            for process in self._programs:
                problem = _problem(process)
                if problem:
                    raise BadArchive("the archive does not unpack", problem)
        return data


@contextlib.contextmanager
def _reading(
    argv: Sequence[str], source: Readable, programs: list[subprocess.Popen[bytes]]
) -> Iterator[_Ahead]:
    process = _started(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    programs.append(process)
    feeding = threading.Thread(target=_feed, args=(source, process), name=argv[0], daemon=True)
    feeding.start()
    assert process.stdout is not None
    try:
        yield _Ahead(process.stdout)  # type: ignore[arg-type]
    finally:
        _end(process)
        feeding.join(_LIMIT)


def _feed(source: Readable, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError, ValueError), process.stdin as target:
        while data := source.read(_CHUNK):
            target.write(data)


def _started(
    argv: Sequence[str], *, stdin: int | BinaryIO, stdout: int | BinaryIO
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(list(argv), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    except FileNotFoundError as error:
        raise CommandFailed(f"{argv[0]} is not there", hint=f"apt install {argv[0]}") from error


def _problem(process: subprocess.Popen[bytes]) -> str:
    """What a program that has no more input says was wrong; empty where nothing was."""
    assert process.stderr is not None
    try:
        status = process.wait(_LIMIT)
    except subprocess.TimeoutExpired:
        return "it does not end"
    said = process.stderr.read(4096).decode(errors="replace").strip() if not process.stderr.closed else ""
    return "" if status == 0 else said or f"status {status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever happened, no process stays."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
