"""The cache of built roots and images, outside the checkout, and where packages come from.

Two environment variables: `GUARDIAN_TEST_CACHE` (the folder) and `GUARDIAN_MIRROR` (a Debian mirror's address).
Without the second, the mirror is the one this machine's own apt uses.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .commands import run
from .errors import MachineError

DEFAULT = "/var/cache/guardian-tests"
UNUSED_DAYS = 7
APT_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def folder(*parts: str) -> Path:
    """The cache folder or a folder in it, created (readable by root only)."""
    path = Path(os.environ.get("GUARDIAN_TEST_CACHE", DEFAULT), *parts)
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


@contextlib.contextmanager
def lock(name: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of that name; waits for another process that has it, or raises `BlockingIOError`."""
    with (folder("locks") / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def digest(*parts: str) -> str:
    """A short name for a recipe: changes when any part changes."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def built(name: str, recipe: str, build: Callable[[Path], None]) -> Path:
    """The folder built from a recipe (a digest), building it first when it is not there.

    `build` gets a folder name that does not exist yet; only a finished one gets its final name.
    """
    target = folder("built") / f"{name}-{recipe}"
    if not target.exists():
        with lock(f"build-{name}"):
            if not target.exists():
                partial = target.with_name(target.name + ".partial")
                remove_tree(partial)
                build(partial)
                partial.rename(target)
                _prune(name, keep=target)
    (folder("built") / f"{target.name}.used").touch()
    return target


def remove_partial() -> list[str]:
    """Remove what builds left that did not come to their end; the names removed."""
    removed = []
    for path in folder("built").glob("*.partial"):
        with contextlib.suppress(BlockingIOError), lock(f"build-{path.name.rpartition('-')[0]}", wait=False):
            remove_tree(path)
            removed.append(path.name)
    return removed


def remove_tree(path: Path) -> None:
    """Remove a folder if it is there. Never crosses into a mount (such a folder is refused by rmdir)."""
    if path.is_symlink() or path.exists():
        run(["rm", "-rf", "--one-file-system", "--", str(path)], timeout=300)


def _prune(name: str, *, keep: Path) -> None:
    """Remove what was built for older recipes and not used for days."""
    for stamp in folder("built").glob(f"{name}-*.used"):
        path = stamp.with_suffix("")
        if path != keep and time.time() - stamp.stat().st_mtime > UNUSED_DAYS * 86400:
            remove_tree(path)
            stamp.unlink()


def apt_environment() -> dict[str, str]:
    """The environment for apt, dpkg and debootstrap: no questions, no translations."""
    return os.environ | APT_ENVIRONMENT


def mirror() -> str:
    """The address of a Debian mirror. Raises `MachineError` when apt knows none."""
    given = os.environ.get("GUARDIAN_MIRROR")
    if given:
        return given.rstrip("/")
    for _ in range(2):
        argv = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
        found = run(argv, timeout=60).stdout.split()
        if found:
            return found[0].rstrip("/")
        run(["apt-get", "update"], timeout=300, env=apt_environment())
    raise MachineError("apt has no Debian mirror configured; set GUARDIAN_MIRROR")


def require_commands(packages: Mapping[str, str]) -> None:
    """See to it that commands exist here, by installing the packages (separated by blanks) of those that do not."""
    with lock("apt"):
        missing = [names for command, names in packages.items() if shutil.which(command) is None]
        if missing:
            environment = apt_environment()
            run(["apt-get", "update"], timeout=300, env=environment)
            argv = ["apt-get", "install", "--yes", "--no-install-recommends", *" ".join(missing).split()]
            run(argv, timeout=900, env=environment)
