"""What lies on the disk is root's alone: images hold the memory of every process."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from guardian.host import paths
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITE = stat.S_IWGRP | stat.S_IWOTH
_SECRET = "whoever can read it reads the memory of every container"  # noqa: S105
_TRUSTED = "whoever can write it decides what root does"


def look(host: Host) -> Iterator[Finding]:
    """The folders that hold images and holds; the files that root believes."""
    for path in (host.ledger.store, paths.STATE, paths.RUN):
        yield from _wrong(path, _OTHERS, _SECRET, f"chown root:root {path}; chmod 700 {path}")
    for path in (
        paths.CONFIGURATION.parent,
        paths.CONFIGURATION,
        paths.HOOKS,
        paths.LIBEXEC,
        paths.FRONT_FOLDER,
    ):
        yield from _wrong(path, _WRITE, _TRUSTED, f"chown root:root {path}; chmod go-w {path}")


def _wrong(path: Path, forbidden: int, why: str, cure: str) -> Iterator[Finding]:
    try:
        seen = path.stat()
    except FileNotFoundError:
        return
    if seen.st_uid == 0 and not seen.st_mode & forbidden:
        return
    what = f"{path} has the mode {stat.S_IMODE(seen.st_mode):04o} and is of user {seen.st_uid}"
    yield Finding("permissions", Severity.WARNING, what, why, cure)
