"""What happens when dockerd stops, has died, or is up again: the main job."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection, Iterator, Sequence

from guardian.host import docker_daemon, facts, fence, gate, paths, proc, runc, systemd
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine, seconds
from guardian.host.docker_placeholders import Placeholders
from guardian.model.container import Container
from guardian.model.errors import AlreadyRunning, GuardianError, NoCheckpoint, StoreError, UnknownContainer
from guardian.model.labels import PLACEHOLDER, Mode
from guardian.model.outcome import Outcome, Result
from guardian.work import (
    canary,
    choice,
    guarded,
    left_to_dockerd,
    pending,
    reception,
    recover,
    second_try,
    stop,
)
from guardian.work.checkpoint import line
from guardian.work.cold import cold
from guardian.work.host import Budget, Claims, Host, Say
from guardian.work.restore import restore

log = logging.getLogger("guardian.cycle")


def engine_stops(host: Host, claims: Claims, claimed: contextlib.ExitStack, *, say: Say) -> list[Result]:
    """Checkpoint what runs and nobody else has claimed, before dockerd is stopped; it is not asked: it may hang.

    Once more for what somebody has started meanwhile, which would be killed. All stay `claimed`.
    """
    if docker_daemon.live_restore() and not systemd.going_down():
        say("live-restore is on: containers outlive dockerd by themselves")
        return []
    if systemd.active_state(docker_daemon.UNIT) == "deactivating":
        # Else our stop comes first. dockerd has told systemd that it stops: its containers have their SIGTERM by now.
        say("dockerd was ended by hand and stops the containers itself: nothing can be saved")
        return []
    budget = Budget(host.config.checkpoint_budget)
    free = _claim(claims, claimed, ())
    results = _save(host, _alive(free), budget=budget, say=say)
    try:
        late = _claim(claims, claimed, free)
        results += _save(host, _alive(late), budget=budget, say=say) if late else []
    except GuardianError as error:
        log.exception("what was started during the checkpoint")
        say(f"what was started during the checkpoint is stopped by dockerd: {error}")
    return results


def _claim(claims: Claims, claimed: contextlib.ExitStack, before: Sequence[Container]) -> list[Container]:
    """Claim what runs and nobody else has; without what was there before, but for those that were started since."""
    mine, begun = {item.id for item in before}, {(item.id, item.started_at) for item in before}
    others = claims.claimed().keys() - mine
    free = [
        item for item in facts.kept() if item.id not in others and (item.id, item.started_at) not in begun
    ]
    claimed.enter_context(claims.claim([item for item in free if item.id not in mine], "checkpoint"))
    return free


def engine_died(host: Host, *, say: Say) -> list[Result]:
    """Checkpoint what an engine that died has left serving, just before a new one would kill it."""
    kept = facts.kept()
    left = _alive([*kept, *_just_resumed({container.id for container in kept})])
    if docker_daemon.running_pid() or not left:
        return []
    if docker_daemon.live_restore():
        return []
    if docker_daemon.start_was_tried():
        say("dockerd did not come up at the last try: the containers are left serving")
        return []
    problem = docker_daemon.invalid()
    if problem:
        say(f"dockerd would not start, the containers are left serving: {problem}")
        return []
    docker_daemon.note_start_tried()
    return _save(host, left, budget=Budget(host.config.checkpoint_budget), say=say)


def _just_resumed(known: Collection[str]) -> Iterator[Container]:
    """Containers over whose restore dockerd died: they run, and no facts of theirs were kept yet."""
    for container_id in gate.names(paths.HOLDERS):
        if container_id in known:
            continue
        restoring = runc.is_restoring(container_id)
        if not gate.restored(container_id) and not (
            restoring and gate.await_restored(container_id, limit=gate.RUNS_SOON)
        ):
            continue
        folder = gate.restoring_from(container_id)
        try:
            if folder is not None:
                yield docker_daemon.as_started(Checkpoint(folder).record().container)
        except GuardianError as error:
            log.warning("%s runs, and its record cannot be read: %s", container_id[:12], error)


def engine_is_up(host: Host, *, stopping: threading.Event, say: Say) -> list[Result]:
    """Restore everything that waits, once dockerd is up."""
    recover.recover(host, say=say)
    reception.sweep(host)
    with contextlib.closing(Engine()) as engine:
        containers = engine.containers()
        keep_facts(host, engine)  # those whose end nobody has heard of are no peers of anybody
        docker_daemon.note_up(live_restore=engine.live_restore(), root=engine.root())
    if any(PLACEHOLDER in container.labels for container in containers):
        Placeholders().remove()  # the power went in the middle of a restore
    found = guarded.find(containers, host.config)
    left = left_to_dockerd.find(containers)
    try:
        waiting = {item.container_id for item in host.ledger.all()} | set(gate.holds())
    except StoreError:
        left_to_dockerd.start(host, left, say=say)  # nobody knows what waits, but nothing does for these
        raise
    ready, results = pending.sort_out(host, containers, sorted(waiting - left.keys()), say=say)
    ready, cold_ones = canary.sent_ahead(host, ready, stopping=stopping, say=say)
    results += cold_ones
    results += restore(host, found.graph, ready, stopping=stopping, say=say)
    results += left_to_dockerd.start(host, left, say=say)
    results += _without_checkpoint(host, found, {result.container_id for result in results}, say=say)
    results += _end_empty_holds(host, containers, say=say)
    with contextlib.closing(Engine()) as engine:
        keep_facts(host, engine)
    return results


def _end_empty_holds(host: Host, containers: Sequence[Container], *, say: Say) -> list[Result]:
    """Lift holds that nothing in the ledger stands behind, starting the container, and fences that no hold does."""
    by_id = {container.id: container for container in containers}
    results = []
    for container_id in gate.holds():
        if host.ledger.pending(container_id) is not None or host.ledger.elsewhere(container_id) is not None:
            continue
        if reception.expects(host, container_id):
            continue
        gate.lift(container_id)
        container = by_id.get(container_id)
        if container is not None and not container.running:
            outcome, reason = cold(container, "it was held and has no checkpoint")
            results.append(Result(container.id, container.name, outcome, reason, 0.0))
            say(line(results[-1]))
    for container_id in fence.fenced():
        if not gate.held(container_id):
            fence.lift(container_id)  # the power went between the fence and the hold, or a record was removed
    return results


def _without_checkpoint(host: Host, found: guarded.Guarded, known: set[str], *, say: Say) -> list[Result]:
    """Guarded containers that this dockerd has started from zero, because nothing had been saved: never silently.

    dockerd starts them before it says that it is ready; what a person starts comes later.
    """
    begun, ready = systemd.start_times(docker_daemon.UNIT)
    results = []
    for member in found.members:
        container = member.container
        if container.id in known or not container.running or gate.restored(container.id):
            continue
        if begun <= seconds(container.started_at) <= ready and not pending.is_noted(host, container):
            skipped = member.policy.mode is Mode.SKIP
            why = "the host or dockerd went down without a checkpoint"
            results.append(stop.note(host, container, Outcome.COLD, choice.SKIPPED if skipped else why))
            say(line(results[-1]))
    return results


def keep_facts(host: Host, engine: Engine) -> None:
    """Write down the facts of all guarded containers that run, for the time when dockerd cannot be asked."""
    found = guarded.find(engine.containers(), host.config)
    running = {member.container.id for member in found.members if member.container.running}
    for member in found.members:
        if member.container.running:
            facts.keep(member.container)
    for container in facts.kept():
        if container.id not in running and not _runs(engine, container.id):
            facts.forget(container.id)


def _runs(engine: Engine, container_id: str) -> bool:
    """Asked again: it may have been started since the list was made."""
    try:
        return engine.container(container_id).running
    except UnknownContainer:
        return False


def _alive(containers: Sequence[Container]) -> list[Container]:
    found = []
    for container in containers:
        known = runc.state(container.id)
        if known is not None and proc.alive(known.pid):
            found.append(container)
    return found


def _save(host: Host, containers: Sequence[Container], *, budget: Budget, say: Say) -> list[Result]:
    found = guarded.find(containers, host.config)
    down = systemd.going_down()
    wanted = {member.container.id: choice.of(member, going_down=down) for member in found.members}
    by_mode = {
        mode: [member for member in found.members if wanted[member.container.id].mode is mode]
        for mode in Mode
    }
    try:
        results = second_try.save(host, found.graph, by_mode[Mode.CHECKPOINT], budget=budget, say=say)
    except GuardianError as error:
        log.exception("checkpoint")
        say(f"checkpoint failed, dockerd stops the containers: {error}")
        return []
    # After them: what is frozen does not see its database go.
    for member in by_mode[Mode.SKIP]:
        results.append(choice.skipped(member, wanted[member.container.id]))
        say(line(results[-1]))
    stops = [(member, wanted[member.container.id]) for member in by_mode[Mode.STOP]]
    results += choice.stop_all(host, found.graph, stops, budget=budget, say=say)
    return results


def refuse_restore(host: Host, container: Container) -> None:
    """Raises AlreadyRunning or NoCheckpoint where a restore of this container makes no sense."""
    if container.running and not pending.waits(host, container):
        raise AlreadyRunning(
            f"{container.name} is running", hint="only a container that is down can be restored"
        )
    if host.ledger.pending(container.id) is None:
        raise NoCheckpoint(f"{container.name} has no checkpoint that may be restored")
