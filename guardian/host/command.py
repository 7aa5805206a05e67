"""Programs of others, run with a time limit and their output kept."""

from __future__ import annotations

import dataclasses
import os
import subprocess
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
