"""Graceful stop without dockerd: the container's own signal and timeout, and no restart behind our back."""

from __future__ import annotations

import logging
import os
import select
import signal
import time

from guardian.host import gate, paths, proc, runc, unsaved
from guardian.host.cgroup import Cgroup
from guardian.host.checkpoint import Checkpoint
from guardian.host.command import CommandFailed
from guardian.host.record import Record
from guardian.model.container import Container
from guardian.model.errors import StoreError
from guardian.model.graph import Member
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Purpose, State, Verdict
from guardian.work.host import Host
from guardian.work.settle import note_result

_KILL_LIMIT = 10.0
_LEAST_GRACE = 10.0

log = logging.getLogger("guardian.stop")


def stop(host: Host, member: Member, reason: str, checkpoint: Checkpoint | None, *, limit: float) -> Result:
    """Stop a container that could not be saved; it is held, and its void record says that it is to start cold.

    One that has ended by itself is left so; one whose stop cannot be written down is left to dockerd, and starts cold
    when that is up again.
    """
    container = member.container
    begun = time.monotonic()
    known = runc.state(container.id)
    if known is None:
        return Result(container.id, container.name, Outcome.STOPPED, f"it ended by itself ({reason})", 0.0)
    if checkpoint is None and _remember(host, container, known, reason) is None:
        _note_beside(container, reason)
        return Result(container.id, container.name, Outcome.FAILED, f"{reason}; left to dockerd", 0.0)
    if checkpoint is not None and State.VOID.value not in checkpoint.marks():
        _note_beside(container, reason)
    # Held before it dies: dockerd would start it again about 100 ms later.
    gate.hold(container.id, container.name, paths.RUN)
    cgroup = Cgroup(known.cgroup)
    cgroup.thaw()
    # Its grace does not depend on what is left of the budget: the setting promises a stop as Docker's.
    _signal(known.pid, container, limit=min(container.stop_timeout, max(limit, _LEAST_GRACE)))
    if cgroup.populated():
        cgroup.kill(limit=_KILL_LIMIT)
    return Result(container.id, container.name, Outcome.COLD, reason, time.monotonic() - begun, "")


def _note_beside(container: Container, reason: str) -> None:
    """The store has no room for why it is to start cold."""
    try:
        unsaved.note(container, reason)
    except OSError as error:
        log.error("%s: that it is to start cold cannot be written down: %s", container.name, error)


def note(host: Host, container: Container, outcome: Outcome, reason: str) -> Result:
    """A container without a checkpoint that was started from zero, or could not be: written down like all others."""
    try:
        known = runc.state(container.id)
    except CommandFailed as error:
        log.warning("%s: %s", container.name, error)
        known = None
    made = _remember(host, container, known, reason)
    result = Result(container.id, container.name, outcome, reason, 0.0, made.id if made else "")
    if made is not None:
        note_result(made, result)
    return result


def _remember(
    host: Host, container: Container, known: runc.RuncContainer | None, reason: str
) -> Checkpoint | None:
    """A void record for a container that has none; None where the store cannot be written."""
    record = Record(
        container=container,
        purpose=Purpose.SUSPEND,
        taken=time.time(),
        boot=proc.boot_id(),
        group=(container.id,),
        cgroup=str(known.cgroup) if known else "",
        own_network=known.own_network if known else True,
        oom_score_adj=0,
        by_person=False,
    )
    try:
        made = host.ledger.begin(record, images=False)
        made.decide(Verdict.VOID)
        made.mark(State.VOID, reason)
    except (StoreError, OSError) as error:
        log.error("%s: that it was stopped cannot be written down: %s", container.name, error)
        return None
    return made


def _signal(pid: int, container: Container, *, limit: float) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal_number(container.stop_signal))
        select.select([descriptor], [], [], limit)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def signal_number(text: str) -> int:
    """Docker's spelling of a signal ("SIGTERM", "TERM", "15"); SIGTERM where it is none."""
    if text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if name.startswith("SIGRTMIN+") and name[9:].isdigit():
        return signal.SIGRTMIN + int(name[9:])
    try:
        return int(signal.Signals[name])
    except KeyError:
        return int(signal.SIGTERM)
