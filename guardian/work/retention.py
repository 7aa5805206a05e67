"""Retention: images that can never be needed again are deleted; nothing that may still be restored is touched."""

from __future__ import annotations

import logging
import shutil

from guardian.host.ledger import Checkpoint, Ledger, remove
from guardian.model.retention import Keep, decide

log = logging.getLogger("guardian.retention")


def tidy(ledger: Ledger, container_id: str) -> None:
    """Delete what `guardian.model.retention` says of one container's checkpoints."""
    checkpoints = ledger.of(container_id)
    found = [(item.state(), item.purpose(), item.result() is not None) for item in checkpoints]
    for checkpoint, keep in zip(checkpoints, decide(found), strict=True):
        try:
            _apply(checkpoint, keep)
        except OSError as error:
            log.warning("checkpoint %s cannot be tidied: %s", checkpoint.id, error)


def _apply(checkpoint: Checkpoint, keep: Keep) -> None:
    if keep is Keep.NOTHING:
        remove(checkpoint)
    elif keep is Keep.RECORD:
        shutil.rmtree(checkpoint.folder / "img", ignore_errors=True)
