"""The images of one checkpoint on disk: the folder of the last step, and inside it those written ahead."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from guardian.model import steps

AHEAD = "ahead"
"""In a checkpoint's folder: how many steps were written ahead, to their end. Without it they are of no use."""


def noted(checkpoint: Path) -> int:
    """How many steps the dump of a checkpoint builds upon; 0 where nothing was written ahead."""
    try:
        count = int((checkpoint / AHEAD).read_text())
    except (OSError, ValueError):
        return 0
    return count if 0 < count <= steps.MOST else 0


def folders(images: Path) -> list[Path]:
    """The folder of the last step, and those of the others that are there, no links."""
    there = (images / steps.name(number) for number in range(1, steps.MOST + 1))
    return [images, *(folder for folder in there if folder.is_dir() and not folder.is_symlink())]


def entries(images: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What lies in the folders of all steps, in order, each with its name relative to that of the last."""
    for folder in folders(images):
        before = "" if folder == images else f"{folder.name}/"
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if before or not (steps.is_step(entry.name) and entry.is_dir(follow_symlinks=False)):
                yield before + entry.name, entry


def size(images: Path) -> int:
    """Bytes of all steps; raises FileNotFoundError where there are no images."""
    return sum(entry.stat(follow_symlinks=False).st_size for _, entry in entries(images))


def links(images: Path) -> dict[str, str]:
    """Every link among the images, and where it leads."""
    return {name: os.readlink(entry.path) for name, entry in entries(images) if entry.is_symlink()}


def make_links(images: Path) -> None:
    """Have each step lead to the one before it; raises OSError."""
    there = itertools.takewhile(
        lambda number: (images / steps.name(number)).is_dir(), range(1, steps.MOST + 1)
    )
    for link, target in steps.links(max(there, default=0)).items():
        (images / link).symlink_to(target)
