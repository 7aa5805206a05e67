"""File systems as this process sees them mounted."""

from __future__ import annotations

import os
from pathlib import Path


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
