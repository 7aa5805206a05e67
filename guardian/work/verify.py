"""Verify: whether a checkpoint is complete and what it was when it was taken."""

from __future__ import annotations

import enum

from guardian.host import manifest
from guardian.host.checkpoint import Checkpoint
from guardian.host.images.folder import Folder
from guardian.host.images.processes import inspect
from guardian.model.errors import StoreError


class Verdict(enum.Enum):
    """What is known of a checkpoint's files."""

    GOOD = "good"
    """Complete, and every file is what it was."""

    UNHASHED = "unhashed"
    """Complete by its lengths and magic numbers; the hashing was cut off."""

    DAMAGED = "damaged"


def verify(checkpoint: Checkpoint) -> Verdict:
    """Look at everything; raises Damaged or BadImage with the first thing that is wrong, StoreError without images."""
    folder = Folder(checkpoint.folder / "img")
    if not folder.has("inventory.img"):
        raise StoreError("it has no images", checkpoint.note(checkpoint.state()))
    inspect(folder)
    if not manifest.is_there(checkpoint):
        return Verdict.UNHASHED
    manifest.verify(checkpoint)
    return Verdict.GOOD
