"""Settle: look at a dump whose runc and CRIU are gone, and bring container and record to an end that agree.

Exit codes decide nothing: runc's and CRIU's are not even looked at.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from guardian.host import facts, fence, gate, mounts, netns, paths, proc, runc, tcp_repair, unsaved
from guardian.host.cgroup import Cgroup
from guardian.host.checkpoint import Checkpoint
from guardian.host.command import CommandFailed
from guardian.model.container import Container
from guardian.model.errors import GuardianError
from guardian.model.outcome import Result
from guardian.model.states import Aftermath, Purpose, State, Verdict, aftermath

KILL_LIMIT = 20.0
"""Seconds for a SIGKILL to have its effect, or for CRIU and runc to end."""

log = logging.getLogger("guardian.checkpoint")


def settle(
    checkpoint: Checkpoint, known: runc.RuncContainer | None, container: Container, reason: str = ""
) -> Aftermath:
    """Bring a dump to its end; can be repeated. A container that goes on is let go whatever the ledger says."""
    cgroup = Cgroup(known.cgroup if known else Path(checkpoint.record().cgroup))
    script_socket(checkpoint).unlink(missing_ok=True)  # of a worker that was killed
    detach(checkpoint)
    verdict = checkpoint.verdict() or decide_void(checkpoint)
    if checkpoint.purpose() is Purpose.SNAPSHOT and verdict is Verdict.COMMIT:
        _end_snapshot(checkpoint, known, container)
        return Aftermath.HELD
    # What was asked of the cgroup, not what it reports: a dying one is populated and no longer frozen.
    what = aftermath(verdict, alive=cgroup.populated(), frozen=cgroup.asked_to_freeze())
    if what is Aftermath.RAN_ON and verdict is Verdict.COMMIT and checkpoint.travel() is not None:
        what = Aftermath.KILL  # another host has it: what runs here is the second copy
    if what is Aftermath.KILL:
        cgroup.kill(limit=KILL_LIMIT)
        what = Aftermath.HELD
    if what is Aftermath.HELD:
        note_state(checkpoint, State.COMMITTED)
        # runc refuses to delete a paused container, and dockerd would wait for it.
        cgroup.thaw()
        note_state(checkpoint, State.KILLED)
        gate.allow_exec(container.id)
        facts.forget(container.id)
        unsaved.forget(container.id, before=checkpoint.taken())
        return what
    void(checkpoint, reason)
    if known is not None and what is not Aftermath.DIED:
        release_running(known, container, checkpoint)
    else:
        gate.allow_exec(container.id)
    gate.lift(container.id)
    return what


def detach(checkpoint: Checkpoint) -> None:
    """Unmount what a killed CRIU has left; a failure keeps nobody frozen and is no reason of anything."""
    try:
        mounts.detach_work(checkpoint.folder)
    except (GuardianError, OSError) as error:
        log.error("checkpoint %s: %s", checkpoint.id, error)


def decide_void(checkpoint: Checkpoint) -> Verdict:
    """Decide VOID of a dump whose script is gone, unless it is decided; returns the verdict that holds.

    A store that cannot be written must not keep anybody frozen: without a verdict nothing is ever restored, nor with
    this one, though a power cut may lose it. Raises OSError where it cannot be seen that there is no other.
    """
    try:
        return checkpoint.decide(Verdict.VOID)
    except OSError as error:
        log.error("checkpoint %s: the verdict cannot be written: %s", checkpoint.id, error)
        if checkpoint.is_undecided() or checkpoint.verdict() is Verdict.VOID:
            return Verdict.VOID
        raise


def script_socket(checkpoint: Checkpoint) -> Path:
    """Where the commit script of a dump asks for its word."""
    return paths.DUMPS / f"{checkpoint.id}.sock"


def void(checkpoint: Checkpoint, reason: str) -> None:
    """Write down why there is no checkpoint. The verdict has decided: a full store must not keep anybody frozen."""
    checkpoint.drop_images()
    note_state(checkpoint, State.VOID, reason)


def note_state(checkpoint: Checkpoint, state: State, note: str = "") -> None:
    """Mark a state that follows from what is on disk: a store that cannot be written must not keep the work from it."""
    try:
        checkpoint.mark(state, note)
    except OSError as error:
        log.error("checkpoint %s: that it is %s cannot be written: %s", checkpoint.id, state.value, error)


def note_result(checkpoint: Checkpoint, result: Result) -> None:
    """Write down what became of a container; the same holds for it."""
    try:
        checkpoint.set_result(result)
    except OSError as error:
        log.error("%s: the result cannot be written: %s", result.name, error)


def release_running(known: runc.RuncContainer, container: Container, checkpoint: Checkpoint) -> None:
    """Heal, unlock, let its peers in and thaw a container that goes on; can be repeated.

    Its file in /run/guardian/frozen stays until all of it is done: whoever comes next repeats it.
    """
    cgroup = Cgroup(known.cgroup)
    healed = tcp_repair.switch_off(cgroup.pids())
    if healed:
        log.warning("%s: %d sockets taken out of repair mode, CRIU had been killed", container.name, healed)
        with contextlib.suppress(OSError):
            checkpoint.mark(State.TAINTED, f"healed {healed} sockets")
    unlocked = True
    if known.own_network:
        try:
            netns.unlock(known.pid)
        except CommandFailed as error:
            # Its namespace ends with it: somebody has removed it meanwhile.
            unlocked = not proc.alive(known.pid)
            log.error("%s: its network cannot be unlocked: %s", container.name, error)
    fence.lift(container.id)
    if not container.paused:
        cgroup.thaw()
    if unlocked:
        gate.allow_exec(container.id)


def _end_snapshot(checkpoint: Checkpoint, known: runc.RuncContainer | None, container: Container) -> None:
    if known is not None:
        release_running(known, container, checkpoint)
    else:
        gate.allow_exec(container.id)
    checkpoint.mark(State.COMMITTED)
    checkpoint.mark(State.DONE)
