"""The steps of a checkpoint whose memory was written ahead: their names, and how each leads to the one before it.

img/parent -> pre-2, img/pre-2/parent -> ../pre-1: CRIU opens `parent` relative to the folder it lies in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MOST = 3
"""How often memory is written ahead at most."""
PARENT = "parent"
"""CRIU's name for the link to the images that a dump builds upon (criu/include/image.h, CR_PARENT_LINK)."""
SLOWEST = 64 << 20
"""Bytes a second: what a disk is trusted with where time is short."""
FOLDER = f"pre-[1-{MOST}]"
"""As an expression."""


def name(number: int) -> str:
    """The folder of a step, below that of the last."""
    return f"pre-{number}"


def is_step(folder: str) -> bool:
    """Whether a folder among the images is that of a step."""
    return re.fullmatch(FOLDER, folder) is not None


def parent_of(number: int) -> str:
    """Where `parent` in a step's folder leads; empty for the first, which builds upon nothing."""
    return f"../{name(number - 1)}" if number > 1 else ""


def links(count: int) -> Mapping[str, str]:
    """Every link among the images of a checkpoint with so many steps before the last, and where it leads."""
    found = {f"{name(number)}/{PARENT}": parent_of(number) for number in range(2, count + 1)}
    return {PARENT: name(count), **found} if count else {}


def affordable(count: int, size: int, seconds: float) -> bool:
    """Whether writing `size` bytes so often clearly fits into the time there is."""
    return count * size / SLOWEST <= seconds
