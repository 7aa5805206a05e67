"""Outside commands: each has a time limit, and none outlives its block."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import IO

from .errors import CommandFailed, TimedOut

File = int | IO[bytes] | None
POLL = 0.05


@dataclass(frozen=True)
class Result:
    """How a command ended: its status and what it wrote."""

    status: int
    stdout: str
    stderr: str


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours together with the process group it leads."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def started(
    argv: Sequence[str],
    *,
    stdin: File = subprocess.DEVNULL,
    stdout: File = None,
    stderr: File = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in a session of its own for as long as the block lasts."""
    process: subprocess.Popen[bytes] | None = None
    try:
        with interrupts_later():
            process = subprocess.Popen(
                argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, start_new_session=True
            )
        yield process
    finally:
        if process is not None:
            kill_session(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    check: bool = True,
    stdin: bytes | File = None,
    stdout: File = None,
    env: Mapping[str, str] | None = None,
    shown_as: str | None = None,
    where: str = "here",
) -> Result:
    """Run a command to its end.

    The outputs go to files, so a daemon left behind with an open stdout does not hold us up; with `stdout` given the
    result has none.
    Raises `CommandFailed` when it takes longer than `timeout` seconds or, with `check`, when its status is not 0.
    """
    with contextlib.ExitStack() as stack:
        out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        given: File = subprocess.DEVNULL if isinstance(stdin, bytes) or stdin is None else stdin
        if isinstance(stdin, bytes):
            given = stack.enter_context(tempfile.TemporaryFile())
            given.write(stdin)
            given.seek(0)
        process = stack.enter_context(
            started(argv, stdin=given, stdout=out if stdout is None else stdout, stderr=err, env=env)
        )
        status: int | None
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill_session(process)
            status = None
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    if status is None or (check and status != 0):
        raise CommandFailed(shown_as or argv, status, *texts, where=where)
    return Result(status, *texts)


def wait_until(happened: Callable[[], bool], *, timeout: float, what: str, every: float = POLL) -> None:
    """Ask again and again, for what announces itself by no event. Raises `TimedOut`."""
    deadline = time.monotonic() + timeout
    while not happened():
        if time.monotonic() > deadline:
            raise TimedOut(f"not within {timeout:g} s: {what}")
        time.sleep(every)


def catch_signals() -> None:
    """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does, where nobody else handles them."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


@contextlib.contextmanager
def interrupts_later() -> Iterator[None]:
    """Let a block end before Ctrl-C, SIGTERM or SIGHUP interrupt: what it makes is then known and can be removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    catch_signals()
    arrived: list[int] = []
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    caught = {number: handler for number, handler in usual.items() if callable(handler)}
    for number in caught:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])
