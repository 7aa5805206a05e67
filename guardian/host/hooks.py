"""Hooks: the administrator's executables in /etc/guardian/hooks/, named by the label `guardian.hook`.

A label names one, and nothing else about the host. What a hook is told stands in its environment, docs/hooks.md.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from guardian.host import paths
from guardian.host.command import CommandFailed, run_strange
from guardian.model.connections import Address, address
from guardian.model.errors import BadInput
from guardian.model.wording import quoted

MOST_OUTPUT = 4096
"""Bytes that are kept of what a hook prints."""
_MOST_ADDRESSES = 64
_LOOSE = stat.S_IWGRP | stat.S_IWOTH


def find(name: str) -> Path:
    """The executable of a hook; raises BadInput where there is none that only root could have written."""
    path = paths.HOOKS / name
    try:
        seen = path.stat()
    except OSError as error:
        raise BadInput(f"there is no hook {quoted(name)} here", hint=f"an executable {path}") from error
    if not stat.S_ISREG(seen.st_mode) or not os.access(path, os.X_OK):
        raise BadInput(f"the hook {quoted(name)} is no executable", str(path))
    if seen.st_uid != 0 or seen.st_mode & _LOOSE:
        raise BadInput(f"the hook {quoted(name)} is not root's alone", hint=f"chmod go-w {path}, chown root")
    return path


def call(name: str, event: str, environment: Mapping[str, str], *, limit: float) -> str:
    """Run a hook and return what it prints; raises BadInput, or CommandFailed where it fails or takes too long."""
    told = {"GUARDIAN_EVENT": event, **{f"GUARDIAN_{key}": value for key, value in environment.items()}}
    done = run_strange([str(find(name)), event], limit=limit, most=MOST_OUTPUT, environment=told)
    if done.status != 0:
        raise CommandFailed(f"the hook {quoted(name)} failed with {done.status}", done.output.strip()[-500:])
    return done.output


def addresses(name: str, environment: Mapping[str, str], *, limit: float) -> frozenset[Address]:
    """The addresses of this host that a hook moves along; raises GuardianError."""
    words = call(name, "addresses", environment, limit=limit).split()
    if len(words) > _MOST_ADDRESSES:
        raise BadInput(f"the hook {quoted(name)} names {len(words)} addresses")
    try:
        return frozenset(address(word) for word in words)
    except ValueError as error:
        raise BadInput(f"the hook {quoted(name)} prints what is no address", f"{error!s:.100}") from error


def shown(found: Collection[Address]) -> str:
    """Addresses as a hook is told them."""
    return " ".join(sorted(map(str, found)))
