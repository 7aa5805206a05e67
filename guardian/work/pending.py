"""What waits to be restored, and what must not be: the ledger against the containers as they are now."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence

from guardian.host import criu_cpu, docker_daemon, docker_networks, encryption, gate, kernel, runc
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine, seconds
from guardian.host.record import Record
from guardian.model import many
from guardian.model.container import Container
from guardian.model.errors import GuardianError, StoreError
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Purpose, State
from guardian.model.wording import printable, span_of_time
from guardian.work import recover, staleness, stop, user_stop
from guardian.work.checkpoint import line
from guardian.work.cold import MAY_HAVE_RUN, cold, ended, set_aside
from guardian.work.host import Host, Say
from guardian.work.resume import Pending

log = logging.getLogger("guardian.pending")

_NOTICE_LIMIT = 30.0
_SOON = 5.0
"""Seconds within which dockerd hears of an end if it hears at all."""
_UNNOTICED = "it waits: dockerd still says that it runs; restart docker.service"
_PERSON_LIMIT = 10.0
_STARTED = "it was started since, without guardian or while its store could not be written"


def sort_out(
    host: Host, containers: Sequence[Container], ids: Sequence[str], *, say: Say, arriving: bool = False
) -> tuple[list[Pending], list[Result]]:
    """Look at the newest checkpoint of each id: what may be restored, and results for what ended another way.

    A container that was removed, or started by anybody meanwhile, makes its checkpoint an orphan or spent; one that
    was stopped because it could not be saved, or whose checkpoint does not fit any more, is to be started cold
    (`Pending.cold`). What another host has, or may have, is left alone, unless it is `arriving`: then its restore
    waits for that host's word.
    """
    known = {container.id: container for container in containers}
    ids = [item for item in ids if _is_readable(host, item)]
    for container in _noticed(host, [known[item] for item in ids if item in known]):
        known[container.id] = container
    pending: list[Pending] = []
    results: list[Result] = []
    for container_id in ids:
        checkpoint = _newest(host, container_id)
        if checkpoint is None:
            continue
        try:
            recover.finish_restore(container_id, say)
            if checkpoint.result() is not None:
                continue
            if container_id in known and checkpoint.elsewhere() and not (arriving and checkpoint.intact()):
                continue
            found = _look(host, checkpoint, known.get(container_id))
        except (GuardianError, OSError) as error:
            found = _not_understood(host, checkpoint, known.get(container_id), error)
        if isinstance(found, Pending):
            pending.append(found)
        elif found is not None:
            say(line(found))
            results.append(found)
    return pending, results


def _noticed(host: Host, containers: Sequence[Container]) -> list[Container]:
    """The containers that were checkpointed just now and that dockerd still says run, once it has noticed."""
    over = [container for container in containers if container.running and waits(host, container)]
    _await_notice([container.id for container in over], limit=_NOTICE_LIMIT)
    seen = []
    for container in over:
        try:
            with contextlib.closing(Engine()) as engine:
                seen.append(engine.container(container.id))
        except GuardianError as error:
            log.warning("%s: %s", container.name, error)
    return seen


def until_noticed(results: Sequence[Result]) -> None:
    """Return once dockerd knows that the saved containers ended: `compose up` right after would say that they run."""
    gone = (Outcome.SAVED, Outcome.MOVED)
    _await_notice([item.container_id for item in results if item.outcome in gone], limit=_PERSON_LIMIT)


def _await_notice(ids: Sequence[str], *, limit: float) -> None:
    """Return once dockerd knows that these held containers ended, or says after `limit` seconds that they run.

    One whose containerd was killed at that moment never hears of it, and looks only when it is told to kill (measured).
    """
    late = [container_id for container_id in ids if not _noticed_within(_SOON, container_id)]
    for container_id in late:
        if runc.state(container_id) is None and docker_daemon.running_pid():
            with contextlib.suppress(GuardianError), contextlib.closing(Engine()) as engine:
                engine.kill(container_id)
    end = time.monotonic() + limit
    for container_id in late:
        if not _noticed_within(max(1.0, end - time.monotonic()), container_id):
            log.warning("%s ended, and dockerd still says that it runs", container_id[:12])


def _noticed_within(limit: float, container_id: str) -> bool:
    # Where dockerd is gone nobody has to notice, and its socket would keep us waiting while its start waits for us.
    if not docker_daemon.running_pid():
        return True
    try:
        with contextlib.closing(Engine(limit=_SOON)) as engine:
            engine.wait_until_down(container_id, limit=limit)
    except GuardianError:
        return False
    return True


def _is_of(checkpoint: Checkpoint, container: Container) -> bool:
    """Whether the container has not been started since the checkpoint."""
    try:
        return checkpoint.record().container.started_at == container.started_at
    except GuardianError:
        return False


def is_noted(host: Host, container: Container) -> bool:
    """Whether the newest record is of this very start of the container."""
    newest = host.ledger.of(container.id)[-1:]
    return bool(newest) and _is_of(newest[0], container)


def waits(host: Host, container: Container) -> bool:
    """Whether the container is down or about to be, and has a checkpoint that may be restored."""
    checkpoint = host.ledger.pending(container.id)
    return checkpoint is not None and _is_of(checkpoint, container)


def _is_readable(host: Host, container_id: str) -> bool:
    """A folder of the store that cannot be read must not cost the others their memory."""
    try:
        host.ledger.of(container_id)
    except StoreError as error:
        log.error("%s: %s", container_id[:12], error)
        return False
    return True


def _newest(host: Host, container_id: str) -> Checkpoint | None:
    """The newest checkpoint made to be resumed whose end is not known yet."""
    for checkpoint in reversed(host.ledger.of(container_id)):
        if checkpoint.purpose() is Purpose.SUSPEND:
            return checkpoint if checkpoint.result() is None else None
    return None


def _look(host: Host, checkpoint: Checkpoint, container: Container | None) -> Pending | Result | None:
    record = checkpoint.record()
    name = record.container.name
    if container is None:
        gate.lift(checkpoint.container_id)
        checkpoint.mark(State.ORPHANED, "the container was removed")
        return ended(checkpoint, name, Outcome.SKIPPED, "the container was removed, its checkpoint is kept")
    if container.running or container.started_at != record.container.started_at:
        if container.running and container.started_at == record.container.started_at:
            # Where it has not ended: a checkpoint in the making, or one that was rolled back and is being looked at.
            over = checkpoint.intact() and runc.state(container.id) is None
            unnoticed = Result(container.id, name, Outcome.SKIPPED, _UNNOTICED, 0.0, checkpoint.id)
            return unnoticed if over else None
        return _started_without_us(checkpoint, container)
    will = user_stop.will(checkpoint, container)
    if will == user_stop.STOPPED:
        return ended(checkpoint, name, Outcome.STOPPED, set_aside(checkpoint, will))
    stale = will or _stale(host, checkpoint, record, container) if checkpoint.intact() else ""
    if checkpoint.intact() and not stale:
        return Pending(checkpoint, record, container)
    if stale:
        checkpoint.mark(State.ORPHANED, stale)
    # Not here: it would take the lowest address, which is another one's, and all the others would get other ones.
    return Pending(checkpoint, record, container, cold=stale or _why_not(checkpoint))


def _stale(host: Host, checkpoint: Checkpoint, record: Record, container: Container) -> str:
    """Why a complete checkpoint must not be restored all the same; empty where it may."""
    if container.config_hash != record.container.config_hash:
        return "the container's configuration changed"
    age = time.time() - record.taken
    if host.config.max_age and age > host.config.max_age:
        return f"its checkpoint is {span_of_time(age)} old, more than restore.max-age"
    if encryption.is_locked(checkpoint.folder / "img", host.ledger.store):
        return "its images are encrypted and the store's key is not there"
    processor = criu_cpu.changed(checkpoint)
    if processor:
        return f"it was taken on another processor and cannot go on on this one: {processor}"
    short = many.without_memory(checkpoint.processes(), kernel.available_memory())
    if short:
        return short  # its restore would not end, and have the host thrash or kill whoever is large
    return staleness.changed(checkpoint, record.container, host.config) or _without_network(host, record)


def _without_network(host: Host, record: Record) -> str:
    """What is to be said of the container's networks that are gone; empty where they are there, or there again."""
    wanted = record.container.networks
    with contextlib.closing(Engine()) as engine:
        gone = docker_networks.vanished(wanted, engine.networks())
        for item in gone:
            missing = f"its network {printable(item.name)} is gone"
            if not host.config.recreate_networks:
                return f"{missing} and [restore] recreate-networks is not set"
            try:
                engine.make_network_anew(record.container.id, item)
            except GuardianError as error:
                return f"{missing} and cannot be made anew: {error}"
            log.info("%s: made the network %s anew", record.container.name, printable(item.name))
    return ""


def give_up(item: Pending, reason: str) -> Result:
    """Start a container cold that waited to be restored; its checkpoint is kept as an orphan."""
    reason = item.cold or set_aside(item.checkpoint, reason)
    gate.lift(item.container.id)
    return ended(item.checkpoint, item.container.name, *cold(item.container, reason))


def expire(host: Host, container: Container) -> Result:
    """The time of a hold is over: its checkpoint is kept, the container starts cold."""
    reason = "its hold expired, nothing had restored it"
    gate.withdraw(container.id)
    checkpoint = host.ledger.pending(container.id)
    if checkpoint is None:
        gate.lift(container.id)
        return Result(container.id, container.name, *cold(container, reason), 0.0, "")
    checkpoint.mark(State.EXPIRED, reason)
    gate.lift(container.id)
    return ended(checkpoint, container.name, *cold(container, reason))


def _started_without_us(checkpoint: Checkpoint, container: Container) -> Result:
    notes = (checkpoint.note(state) for state in (State.VOID, State.ORPHANED, State.EXPIRED, State.SPENT))
    reason = next((note for note in notes if note), "")
    if not reason:
        # Without a note it was a restore that spent it, and the power went before its end was written down.
        reason = MAY_HAVE_RUN if State.SPENT.value in checkpoint.marks() else _STARTED
    if checkpoint.restorable():
        checkpoint.mark(State.SPENT, reason)
    gate.lift(container.id)
    if not container.running and gate.REFUSAL in container.error:
        return ended(checkpoint, container.name, *cold(container, reason))
    if not container.running:
        return ended(checkpoint, container.name, Outcome.STOPPED, f"{reason}, and has ended since")
    return ended(checkpoint, container.name, Outcome.COLD, reason)


def note_start(host: Host, container: Container) -> None:
    """Somebody has started the container: a checkpoint that waits must never be restored any more. Raises OSError."""
    checkpoint = host.ledger.pending(container.id)
    if checkpoint is not None and container.running and not _is_of(checkpoint, container):
        log.info("%s", line(_started_without_us(checkpoint, container)))


def _why_not(checkpoint: Checkpoint) -> str:
    """Why a checkpoint is not restored, in words."""
    marks = checkpoint.marks()
    for state in (State.VOID, State.ORPHANED, State.EXPIRED, State.TAINTED):
        if state.value in marks:
            return checkpoint.note(state) or f"its checkpoint is {state.value}"
    if State.SPENT.value in marks:
        return MAY_HAVE_RUN
    return recover.INCOMPLETE


def _not_understood(
    host: Host, checkpoint: Checkpoint, container: Container | None, error: Exception
) -> Result | None:
    """A record that was not written to its end, does not parse or is of another format: left alone, not restored.

    The container starts cold, which is kept in a record of its own; None where it runs on, or was stopped since.
    """
    reason = f"its checkpoint cannot be used: {error}" if checkpoint.is_begun() else recover.INCOMPLETE
    gate.lift(checkpoint.container_id)
    if container is None:
        return Result(
            checkpoint.container_id, checkpoint.container_id[:12], Outcome.SKIPPED, reason, 0.0, checkpoint.id
        )
    since = seconds(container.started_at) > checkpoint.taken()
    if container.running != since:
        return None  # it has run on; or it was started since, and stopped
    return stop.note(host, container, *((Outcome.COLD, reason) if since else cold(container, reason)))
