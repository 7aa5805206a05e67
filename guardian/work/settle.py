"""Settle: look at a dump whose runc and CRIU are gone, and bring container and record to an end that agree.

Exit codes decide nothing: runc's and CRIU's are not even looked at.
"""

from __future__ import annotations

import logging
from pathlib import Path

from guardian.host import facts, gate, netns, runc, tcp_repair
from guardian.host.cgroup import Cgroup
from guardian.host.command import CommandFailed
from guardian.host.ledger import Checkpoint
from guardian.model.container import Container
from guardian.model.states import Aftermath, Purpose, State, Verdict, aftermath

KILL_LIMIT = 20.0
"""Seconds for a SIGKILL to have its effect, or for CRIU and runc to end."""

log = logging.getLogger("guardian.checkpoint")


def settle(
    checkpoint: Checkpoint, known: runc.RuncContainer | None, container: Container, reason: str = ""
) -> Aftermath:
    """Look at a dump whose runc and CRIU are gone, and bring container and record to an end that agree."""
    cgroup = Cgroup(known.cgroup if known else Path(checkpoint.record().cgroup))
    verdict = checkpoint.verdict()
    snapshot = checkpoint.purpose() is Purpose.SNAPSHOT
    if verdict is Verdict.COMMIT and not snapshot:
        # CRIU's kill may still be on its way.
        cgroup.wait("populated", False, limit=2.0)
    alive = cgroup.populated()
    if verdict is None:
        verdict = checkpoint.decide(Verdict.VOID)
    if snapshot and verdict is Verdict.COMMIT:
        checkpoint.mark(State.COMMITTED)
        if alive and known is not None:
            release_running(known, container, checkpoint)
        return Aftermath.HELD
    what = aftermath(verdict, alive=alive, frozen=cgroup.frozen())
    if what is Aftermath.KILL:
        cgroup.kill(limit=KILL_LIMIT)
        what = Aftermath.HELD
    if what is Aftermath.HELD:
        checkpoint.mark(State.COMMITTED)
        # runc refuses to delete a paused container, and dockerd would wait for it.
        cgroup.thaw()
        checkpoint.mark(State.KILLED)
        gate.allow_exec(container.id)
        facts.forget(container.id)
        return what
    checkpoint.mark(State.VOID, reason)
    if alive and known is not None:
        release_running(known, container, checkpoint)
    else:
        gate.allow_exec(container.id)
    gate.lift(container.id)
    return what


def release_running(known: runc.RuncContainer, container: Container, checkpoint: Checkpoint) -> None:
    """Heal, unlock and thaw a container that goes on."""
    cgroup = Cgroup(known.cgroup)
    healed = tcp_repair.switch_off(cgroup.pids())
    if healed:
        log.warning("%s: %d sockets taken out of repair mode, CRIU had been killed", container.name, healed)
        checkpoint.mark(State.TAINTED, f"healed {healed} sockets")
    if known.own_network:
        try:
            netns.unlock(known.pid)
        except CommandFailed as error:
            log.error("%s: its network cannot be unlocked: %s", container.name, error)
    if not container.paused:
        cgroup.thaw()
    gate.allow_exec(container.id)
    if checkpoint.purpose() is Purpose.SUSPEND:
        gate.lift(container.id)
