"""What is mounted where this process sees it: the kind of a file system, and what a killed CRIU has left."""

from __future__ import annotations

import os
from pathlib import Path

from guardian.host import mountinfo
from guardian.host.command import run

_LIMIT = 10.0


def filesystem_of(path: Path) -> str:
    """The kind of file system that a path lies on, as the kernel names it; empty where the mounts do not tell.

    Looked up by device: btrfs and overlays have devices of their own for parts of them, which no mount names.
    """
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    return next((mount.kind for mount in mountinfo.of(os.getpid()) if mount.device == wanted), "")


def detach_work(checkpoint: Path) -> None:
    """Unmount what a killed CRIU has left in a checkpoint's working folders: cgroup hierarchies.

    Raises CommandFailed at its limit.
    """
    wanted = [(checkpoint / name).resolve() for name in ("work", "work-restore")]
    places = (Path(mount.place) for mount in mountinfo.of(os.getpid()))
    found = [place for place in places if any(folder in place.parents for folder in wanted)]
    for place in sorted(found, key=lambda place: len(place.parts), reverse=True):
        run(["umount", "--lazy", str(place)], limit=_LIMIT, check=False)
