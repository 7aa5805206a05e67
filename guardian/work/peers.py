"""Peers of a container: what is noted of its connections while it stands still, and done for them at the restore."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from guardian.host import connections, facts, fence, gate
from guardian.host import farewell as farewells
from guardian.host.checkpoint import Checkpoint
from guardian.host.record import Record
from guardian.model.config import Config
from guardian.model.connections import Address, Peer, fates, fates_elsewhere, moves_along, said, to_fence
from guardian.model.container import Container
from guardian.model.errors import BadInput, GuardianError
from guardian.model.labels import Connections
from guardian.work import guarded

log = logging.getLogger("guardian.peers")


def note(
    config: Config,
    checkpoint: Checkpoint,
    container: Container,
    around: Iterable[Container],
    down: Iterable[Container],
    *,
    init: int,
    pids: Iterable[int],
    own_network: bool,
    away: bool,
    moving: Collection[Address] | None = None,
) -> bool:
    """Write the record of a frozen container's connections and fence them; returns whether they are fenced.

    `around` are the containers checkpointed with it, `down` those that wait to be restored, `away`: it will be gone
    until its restore. `moving` are the addresses of the host that go along with a container that departs. A fence that
    fails costs connections from outside, never the checkpoint.
    """
    names = connections.names_of([*down, *facts.kept(), *around])
    try:
        found = connections.of(container, init, pids, own_network=own_network, names=names)
    except GuardianError as error:
        connections.keep_problem(checkpoint, str(error))
        return False
    fenced = False
    if away and _keeps(config, container):
        mine = [item for item in found if moving is None or moves_along(item, moving)]
        flows = to_fence(mine, connections.own_addresses(container), both_ways=not own_network)
        try:
            if flows:
                fence.put_up(container.id, flows, seconds=config.fence_time)
            fenced = bool(flows) or moving is None
        except GuardianError as error:
            checkpoint.remark(f"its connections were not fenced: {error}")
    if found:
        connections.keep(checkpoint, found, moving or ())
    return fenced


def expect(config: Config, checkpoint: Checkpoint) -> None:
    """An address of the old host is about to come here: nobody but the container may answer. Raises GuardianError."""
    along = connections.moving(checkpoint)
    mine = [item for item in connections.kept(checkpoint) if moves_along(item, along)]
    own = connections.own_addresses(checkpoint.record().container)
    if mine:
        flows = to_fence(mine, own, both_ways=False)
        fence.put_up(checkpoint.container_id, flows, seconds=config.fence_time)


def losses(
    container: Container,
    there: Iterable[Container],
    group: Collection[str],
    *,
    init: int,
    pids: Iterable[int],
    own_network: bool,
    moving: Collection[Address],
) -> str:
    """What a move to another host will close, as it looks now.

    `group` are the names of those that go along, `moving` the addresses of this host that do.
    """
    names = connections.names_of(there)
    found = connections.of(container, init, pids, own_network=own_network, names=names)
    decided = fates_elsewhere(found, kept=group, own_network=own_network, moving=moving)
    return f"{container.name}: {told}" if (told := said(decided, "the move would close")) else ""


def losses_by_reboot(
    config: Config,
    container: Container,
    there: Iterable[Container],
    kept: Collection[str],
    *,
    init: int,
    pids: Iterable[int],
    own_network: bool,
) -> tuple[int, str]:
    """How many connections it has, and what a reboot of the host will close, as it looks now.

    `kept` are the names of the containers that can be saved. Raises GuardianError.
    """
    found = connections.of(container, init, pids, own_network=own_network, names=connections.names_of(there))
    if found and (not _keeps(config, container) or container.name not in kept):
        why = "guardian.connections=close" if container.name in kept else "it cannot be saved"
        return len(found), f"a reboot would close its {len(found)} connections: {why}"
    return len(found), said(fates(found, kept=kept, on_host=()), "a reboot would close")


def farewell(checkpoints: Iterable[Checkpoint]) -> None:
    """Containers have moved away: those outside whose connections stay behind are told so by a reset."""
    for checkpoint in checkpoints:
        try:
            record = checkpoint.record()
            own = connections.own_addresses(record.container)
            arriving = [
                item.entry.outer(own)
                for item in connections.kept(checkpoint)
                if item.entry is not None
                and item.peer is Peer.OUTSIDE
                and not moves_along(item, connections.moving(checkpoint))
            ]
            farewells.say(arriving)
        except (GuardianError, OSError) as error:
            log.warning("checkpoint %s: its peers were not told: %s", checkpoint.id, error)


def _keeps(config: Config, container: Container) -> bool:
    return guarded.policy_of(container, config).connections is Connections.KEEP


def prepare(
    config: Config, checkpoint: Checkpoint, record: Record, kept: Collection[str], *, addresses_kept: bool
) -> tuple[bool, str]:
    """Write what the commit script does for the connections before the container runs, into its restore's folder.

    `kept` names the containers that come back or never went. Returns whether all connections must be closed by CRIU,
    and what is to be said about those that are closed.
    """
    folder = gate.restore_folder(checkpoint.container_id)
    try:
        found = connections.kept(checkpoint)
    except BadInput as error:
        connections.prepare(folder, ())
        return True, f"its connections were closed: {error}"
    travelled = checkpoint.travel() is not None
    if checkpoint.origin() and not travelled:
        connections.prepare(folder, ())
        return True, f"it was imported, its {len(found)} connections were closed" if found else ""
    if not found:
        connections.prepare(folder, ())
        return not addresses_kept, "" if addresses_kept else "another address"
    if not _keeps(config, record.container) or not addresses_kept:
        why = "another address" if not addresses_kept else "guardian.connections=close"
        connections.prepare(folder, ())
        return True, f"{why}, its {len(found)} connections were closed"
    names = {*kept, record.container.name}
    if travelled:
        decided = fates_elsewhere(
            found, kept=names, own_network=record.own_network, moving=connections.moving(checkpoint)
        )
    else:
        decided = fates(found, kept=names, on_host=connections.on_host())
    connections.prepare(folder, decided)
    return False, said(decided)


def moved(record: Record, now: Container) -> str:
    """What is to be said when a container came back with other addresses; empty where it has its old ones."""
    before, after = connections.own_addresses(record.container), connections.own_addresses(now)
    if before <= after:
        return ""
    gone, new = (" ".join(sorted(map(str, some))) for some in (before - after, after - before))
    return f"its address {gone} is now {new or 'none'}"
