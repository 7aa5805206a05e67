"""Retention: images that can never be needed again are deleted; nothing that may still be restored is touched."""

from __future__ import annotations

import logging
import shutil
import time

from guardian.host.checkpoint import Checkpoint
from guardian.host.ledger import remove
from guardian.model.errors import GuardianError
from guardian.model.retention import Keep, Kept, Limits, decide, too_much
from guardian.model.states import Purpose, State
from guardian.work.host import Host

log = logging.getLogger("guardian.retention")


def tidy(host: Host, container_id: str) -> None:
    """Delete what `guardian.model.retention` says of one container's checkpoints."""
    checkpoints = host.ledger.of(container_id)
    found = [_look(checkpoint) for checkpoint in checkpoints]
    for checkpoint, keep in zip(checkpoints, decide(found, _limits(host)), strict=True):
        try:
            checkpoint.write_result()
            _apply(checkpoint, keep)
        except OSError as error:
            log.warning("checkpoint %s cannot be tidied: %s", checkpoint.id, error)


def tidy_all(host: Host) -> None:
    """The same for every container, and the limit for all together."""
    for container_id in sorted({checkpoint.container_id for checkpoint in host.ledger.all()}):
        tidy(host, container_id)
    _tidy_moves(host)
    left = list(host.ledger.all())
    for place in too_much([_look(checkpoint) for checkpoint in left], _limits(host)):
        log.info("checkpoint %s is deleted: retention.max-size", left[place].id)
        remove(left[place])


def _tidy_moves(host: Host) -> None:
    """Verdicts of moves that both hosts know and no record is left of."""
    known = {travel.move for item in host.ledger.all() if (travel := item.travel()) is not None}
    for move in host.ledger.closed_moves():
        if move.name not in known:
            shutil.rmtree(move, ignore_errors=True)


def _limits(host: Host) -> Limits:
    config = host.config
    return Limits(config.retained_snapshots, config.retained_age, config.retained_size)


def _look(checkpoint: Checkpoint) -> Kept:
    state, purpose = checkpoint.state(), checkpoint.purpose()
    complete = (
        state in (State.DONE, State.VOID) if purpose is Purpose.SNAPSHOT else checkpoint.result() is not None
    )
    try:
        age = time.time() - checkpoint.record().taken
    except GuardianError:
        age = 0.0  # another format, or damaged: not ours to judge
    return Kept(state, purpose, complete and not checkpoint.intact(), age, checkpoint.image_size())


def _apply(checkpoint: Checkpoint, keep: Keep) -> None:
    if keep is Keep.NOTHING:
        remove(checkpoint)
    elif keep is Keep.RECORD:
        checkpoint.drop_images()
