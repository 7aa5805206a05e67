"""Programs of others, run with a time limit and their output kept."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from guardian.model.errors import GuardianError


class CommandFailed(GuardianError):
    """A program ended with an error, took too long or is not there."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """How a program ended. `status` is negative for a signal."""

    status: int
    output: str
    errors: str


def run(
    argv: Sequence[str],
    *,
    limit: float,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    check: bool = True,
) -> Finished:
    """Run a program for at most `limit` seconds; raises CommandFailed, for an exit status only where `check`."""
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError as error:
        raise CommandFailed(f"{argv[0]} is not there", str(error)) from error
    try:
        output, errors = process.communicate(text, timeout=limit)
    except subprocess.TimeoutExpired as error:
        # Killed and left behind: a process in uninterruptible sleep would keep us waiting as well.
        process.kill()
        raise CommandFailed(f"{argv[0]} took longer than {limit:g} s") from error
    done = Finished(process.returncode, output, errors)
    if check and done.status != 0:
        raise CommandFailed(f"{' '.join(argv[:3])} failed with {done.status}", done.errors.strip()[-500:])
    return done


def run_strange(
    argv: Sequence[str], *, limit: float, most: int, environment: Mapping[str, str] | None = None
) -> Finished:
    """Run what may do anything, hooks, in a session of its own: at most `limit` seconds, `most` bytes of output kept.

    Its errors are among its output. It has ended when its first process has, whoever still holds its output; at the
    limit all of its process group is killed. Raises CommandFailed, not for an exit status.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(f"{argv[0]} cannot be run", error.strerror or "") from error
    assert process.stdout is not None
    with process.stdout as output:
        kept = _read_until_end(process, output.fileno(), limit=limit, most=most)
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.poll()  # not waited for: it may be in uninterruptible sleep
            raise CommandFailed(f"{argv[0]} took longer than {limit:g} s", _text(kept)[-500:])
    return Finished(process.returncode, _text(kept), "")


def _read_until_end(process: subprocess.Popen[bytes], output: int, *, limit: float, most: int) -> bytes:
    """What a process prints until it ends or the limit is reached; beyond `most` bytes it is read and dropped."""
    os.set_blocking(output, False)
    end = time.monotonic() + limit
    kept = b""
    ended = os.pidfd_open(process.pid)
    try:
        open_ones = [output, ended]
        while ended in open_ones:
            ready, _, _ = select.select(open_ones, [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return kept
            if ended in ready:
                process.wait()
                open_ones.remove(ended)
            while output in open_ones:
                try:
                    piece = os.read(output, 64 << 10)
                except BlockingIOError:
                    break
                if not piece:
                    open_ones.remove(output)
                kept += piece[: most - len(kept)]
                if time.monotonic() > end:
                    return kept
        return kept
    finally:
        os.close(ended)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
