"""File systems as this process sees them mounted."""

from __future__ import annotations

import os
from pathlib import Path

from guardian.host.command import run

_LIMIT = 10.0


def filesystem_of(path: Path) -> str:
    """The kind of file system that a path lies on, as the kernel names it; empty where the mounts do not tell.

    Looked up by device: btrfs and overlays have devices of their own for parts of them, which no mount names.
    """
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ")[2:3] == [wanted] and after:
            return after.split(" ")[0]
    return ""


def detach_work(checkpoint: Path) -> None:
    """Unmount what a killed CRIU has left in a checkpoint's working folders: cgroup hierarchies.

    Raises CommandFailed at its limit.
    """
    wanted = [(checkpoint / name).resolve() for name in ("work", "work-restore")]
    found = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        place = Path(line.split()[4].replace("\\040", " "))
        if any(folder in place.parents for folder in wanted):
            found.append(place)
    for place in sorted(found, key=lambda place: len(place.parts), reverse=True):
        run(["umount", "--lazy", str(place)], limit=_LIMIT, check=False)
