"""Inspect, asked of the worker: in a process of its own, since nothing in an image is believed."""

from __future__ import annotations

from guardian.host.command import CommandFailed, run
from guardian.model.errors import BadInput, GuardianError
from guardian.model.wording import printable

_LIMIT = 120.0
_MOST = 32 << 20
"""Characters of an answer, which goes in one line."""


class NotInspected(GuardianError):
    """guardianctl refused or failed; says what it said."""

    name = "NotInspected"


def inspection_of(names: tuple[str, ...]) -> str:
    """What `guardianctl inspect --json` says of one container or checkpoint; raises BadInput or NotInspected."""
    if len(names) != 1 or names[0].startswith(("-", ".", "/")) or "\0" in names[0]:
        raise BadInput("one container or one checkpoint must be named")
    try:
        done = run(["guardianctl", "inspect", "--json", names[0]], limit=_LIMIT, check=False)
    except CommandFailed as error:
        raise NotInspected("it was not inspected", str(error)) from error
    if done.status != 0:
        last = "".join(done.errors.strip().splitlines()[-1:])
        raise NotInspected(printable(last.removeprefix("guardianctl: ")) or "guardianctl failed")
    if len(done.output) > _MOST:
        raise NotInspected(
            "the facts are too many for the bus", hint=f"guardianctl inspect --json {names[0]}"
        )
    return done.output
