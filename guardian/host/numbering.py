"""The numbers of a container's checkpoints (`web@2`)."""

from __future__ import annotations

import os
from pathlib import Path

from guardian.host import durable


def following(folder: Path) -> int:
    """The next number of a container's checkpoints; one is never used twice, whatever was removed."""
    file = folder / ".last-number"
    try:
        last = int(file.read_text())
    except (OSError, ValueError):
        last = sum(1 for entry in os.scandir(folder) if entry.is_dir()) - 1
    durable.write(file, f"{last + 1}\n")
    return last + 1
