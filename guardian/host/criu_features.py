"""What CRIU itself says of this kernel: `criu check`."""

from __future__ import annotations

import functools

from guardian.host import runc
from guardian.host.command import CommandFailed, run
from guardian.model import kernel_support

_LIMIT = 20.0


def present() -> bool:
    """Whether there is a CRIU."""
    try:
        return bool(runc.criu())
    except CommandFailed:
        return False


def check() -> str:
    """The first thing that `criu check` finds wrong, empty where nothing is; raises CommandFailed."""
    done = run([runc.criu(), "check"], limit=_LIMIT, check=False)
    if done.status == 0:
        return ""
    found = kernel_support.errors(done.output + done.errors)
    return found[0] if found else f"status {done.status}"


def has(feature: str) -> bool:
    """Whether a feature is there, or this CRIU has not heard of it; raises CommandFailed."""
    done = run([runc.criu(), "check", "--feature", feature], limit=_LIMIT, check=False)
    return done.status == 0 or kernel_support.is_unknown(done.output + done.errors)


@functools.cache
def tracks_memory() -> bool:
    """Whether this kernel tells which pages have changed; asked once."""
    try:
        done = run([runc.criu(), "check", "--feature", "mem_dirty_track"], limit=_LIMIT, check=False)
    except CommandFailed:
        return False
    return done.status == 0
