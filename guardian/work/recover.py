"""Recover: after any death of a worker, look at every dump that has no end, and bring it to one."""

from __future__ import annotations

import contextlib
import logging

from guardian.host import gate, paths, proc, runc
from guardian.host.cgroup import Cgroup
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine
from guardian.model.errors import GuardianError, StoreError
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Aftermath, Purpose, State, Verdict
from guardian.work.host import Host, Say
from guardian.work.settle import release_running, settle

log = logging.getLogger("guardian.recover")

_UNSETTLED = frozenset({State.FROZEN, State.LOCKED, State.DUMPED, State.DURABLE, State.HELD, State.COMMITTED})

_WORKER_ENDED = "guardian's worker ended in the middle"
INCOMPLETE = "its checkpoint was not complete when the host went down"


def recover(host: Host, *, say: Say) -> None:
    """Settle what another worker left; await dumps that are still under way."""
    try:
        found = list(host.ledger.all())
    except StoreError as error:
        log.error("%s", error)
        found = []
    for checkpoint in found:
        if checkpoint.result() is not None or not _unsettled(checkpoint):
            continue
        try:
            _settle(checkpoint, say)
        except (GuardianError, OSError) as error:
            log.error("checkpoint %s of %s: %s", checkpoint.id, checkpoint.container_id[:12], error)
    _let_go(say)
    for container_id in gate.names(paths.HOLDERS):
        try:
            finish_restore(container_id, say)
        except (GuardianError, OSError) as error:
            log.error("the restore of %s: %s", container_id[:12], error)
    # First the tickets: whoever took one now would be a holder whose gate nobody opens.
    for container_id in gate.unused():
        gate.withdraw(container_id)
    for container_id in gate.idle_holders():
        gate.clear_holder(container_id)


def finish_restore(container_id: str, say: Say) -> None:
    """A restore whose worker died over it: its holder goes on, and only the hold is left."""
    folder = gate.restoring_from(container_id)
    if folder is None:
        return
    checkpoint = Checkpoint(folder)
    under_way = State.SPENT.value in checkpoint.marks() or runc.is_restoring(container_id)
    if not under_way or checkpoint.result() is not None or _is_followed(checkpoint):
        return
    if not gate.await_restored(container_id, limit=gate.RUNS_SOON):
        return
    if State.SPENT.value not in checkpoint.marks() or runc.state(container_id) is None:
        return
    record = checkpoint.record()
    gate.lift(container_id)
    checkpoint.mark(State.RUNNING)
    if record.container.paused:
        with contextlib.closing(Engine()) as engine:
            engine.pause(container_id)
    checkpoint.mark(State.DONE)
    reason = "guardian's worker ended over it"
    checkpoint.set_result(
        Result(container_id, record.container.name, Outcome.RESUMED, reason, 0.0, checkpoint.id)
    )
    say(f"{record.container.name}: resumed ({reason})")


def _is_followed(checkpoint: Checkpoint) -> bool:
    """Whether what was restored from it has been saved since."""
    later = (path for path in checkpoint.folder.parent.iterdir() if path.name > checkpoint.id)
    return any(Checkpoint(path).purpose() is Purpose.SUSPEND for path in later)


def _let_go(say: Say) -> None:
    """Whoever was frozen for a checkpoint that is over, and was not let go in the end."""
    for container_id, folder in gate.frozen().items():
        known = runc.state(container_id)
        checkpoint = Checkpoint(folder)
        try:
            if known is None:
                gate.allow_exec(container_id)
            else:
                release_running(known, checkpoint.record().container, checkpoint)
                say(f"{container_id[:12]}: let go, a checkpoint had left it frozen")
        except (GuardianError, OSError) as error:
            log.error("%s is still frozen: %s", container_id[:12], error)


def _unsettled(checkpoint: Checkpoint) -> bool:
    """Whether nobody has looked what became of the dump: a verdict is what was decided, not that it was done."""
    if checkpoint.verdict() is Verdict.VOID:
        return State.VOID.value not in checkpoint.marks()
    return checkpoint.state() in _UNSETTLED


def _settle(checkpoint: Checkpoint, say: Say) -> None:
    record = checkpoint.record()
    known = runc.state(record.container.id)
    if known is not None:
        runc.await_dump(record.container.id, checkpoint.folder, Cgroup(known.cgroup))
    why = _WORKER_ENDED if record.boot == proc.boot_id() else INCOMPLETE
    what = settle(checkpoint, known, record.container, why)
    log.info("checkpoint %s of %s: %s", checkpoint.id, record.container.name, what.value)
    if known is not None and what is not Aftermath.HELD and checkpoint.purpose() is Purpose.SUSPEND:
        reason = f"the checkpoint was given up, {why}"
        result = Result(
            record.container.id, record.container.name, Outcome.SKIPPED, reason, 0.0, checkpoint.id
        )
        checkpoint.set_result(result)
        say(f"{record.container.name}: goes on, {reason}")
