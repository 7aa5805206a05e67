"""Plan: what saving the guarded containers would come to, found out without touching them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from guardian.host import chain, criu_features, docker_daemon, kernel, proc, runc, space, traits
from guardian.host.cgroup import Cgroup
from guardian.host.ledger import Ledger
from guardian.model import json_text, many
from guardian.model.container import Container
from guardian.model.errors import GuardianError
from guardian.model.graph import Member
from guardian.model.labels import PRE_DUMP, Mode
from guardian.model.plan import Forecast, resume_tree, save_order, speed, together
from guardian.model.savable import refusals
from guardian.model.traits import Obstacle, Traits, obstacles, of_refusal
from guardian.work import ahead, choice, guarded, peers
from guardian.work.host import Host

_MOST_HISTORY = 200
"""So many of the newest checkpoints say how fast this host is."""
_SLOW = Obstacle(
    "its dump may take longer than the limit for one container",
    "raise checkpoint.container-timeout",
    forbids=False,
)


def plan(host: Host, containers: Sequence[Container], names: Sequence[str] = ()) -> dict[str, Any]:
    """The plan as docs/json.md has it, for the containers that are named or all guarded ones that run.

    Raises UnknownContainer or NotGuarded.
    """
    found = guarded.find(containers, host.config)
    chosen = guarded.choose(found, containers, names)
    wanted = [member for member in chosen if names or member.container.running]
    forecasts = look(host, containers, found, wanted)
    chosen_so = {item.container.id for item in wanted if _chosen(item).mode is not Mode.CHECKPOINT}
    saved = [item for item in forecasts if item.savable and item.id not in chosen_so]
    slots = host.config.parallel or os.cpu_count() or 1
    seconds = together((item.seconds for item in saved), slots)
    by_id = {item.id: item.name for item in forecasts}
    return {
        "containers": [item.to_json() for item in forecasts],
        "save": save_order(found.graph, {key: by_id[key] for key in by_id.keys() - chosen_so}),
        "resume": resume_tree(found.graph, by_id),
        "total": {
            "wanted": len(forecasts) - len(chosen_so),
            "savable": len(saved),
            "size": sum(item.size for item in saved),
            "free": _free(host.ledger),
            "seconds": seconds,
            "budget": host.config.checkpoint_budget,
            "slots": slots,
            "fits_time": seconds <= host.config.checkpoint_budget,
        },
        "notes": list(_notes()),
    }


def look(
    host: Host, containers: Sequence[Container], found: guarded.Guarded, wanted: Sequence[Member]
) -> list[Forecast]:
    """The forecasts of the guarded containers that are `wanted`, by name; the others are looked at as neighbours."""
    members = sorted(found.members, key=lambda member: member.container.name)
    seen = {member.container.id: _seen(member.container) for member in members if member.container.running}
    servers = {
        member.container.name
        for member in members
        if (known := seen.get(member.container.id)) and known.serves_files()
    }
    fast = speed(_history(host.ledger))
    chosen = {member.container.id for member in wanted}
    # Room is promised to all that run, as the shutdown does: one alone would always fit.
    room = space.Room(host.config, host.ledger)
    unsupported = runc.unsupported()
    drafts = []
    for member in members:
        container = member.container
        what = seen.get(container.id)
        forbidden = [of_refusal(item) for item in refusals(container)]
        if unsupported:
            forbidden.append(
                Obstacle(unsupported, "no container can be saved on this host until that is cured")
            )
        said = [*forbidden, *(obstacles(what) if what else ())]
        if what and not any(item.forbids for item in said):
            said += _without_room(room, container)
        said += _own_notes(member, found, what, servers)
        size = what.memory if what else 0
        seconds = fast.seconds(size) if what else 0.0
        if seconds > host.config.container_timeout:
            said.append(_SLOW)
        said += _of_their_number(host, what)
        said.sort(key=lambda item: not item.forbids)
        drafts.append(Forecast(container.id, container.name, tuple(said), size, seconds))
    kept = {item.name for item in drafts if item.savable}
    return [
        _with_connections(host, item, member.container, containers, kept)
        for item, member in zip(drafts, members, strict=True)
        if item.id in chosen
    ]


def _chosen(member: Member) -> choice.Choice:
    """What its owner wants at the next shutdown."""
    return choice.of(member, going_down=True)


def _seen(container: Container) -> Traits | None:
    """What is seen of it; None where it has ended meanwhile."""
    known = runc.state(container.id)
    if known is None or not proc.alive(known.pid):
        return None
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return traits.of(container, known, Cgroup(known.cgroup).pids())
    return None


def _without_room(room: space.Room, container: Container) -> list[Obstacle]:
    try:
        room.take(container.id)
    except GuardianError as error:
        return [Obstacle(f"{error.what}: {error.why}", error.hint)]
    return []


def _of_their_number(host: Host, what: Traits | None) -> Iterator[Obstacle]:
    count = len(what.processes) if what else 0
    if many.seconds(count) > host.config.restore_timeout:
        yield Obstacle(
            f"the restore of {count} processes may take longer than the limit for one container",
            "raise restore.container-timeout; it would be started cold",
            forbids=False,
        )
    short = many.without_memory(count, kernel.available_memory())
    if short:
        yield Obstacle(short, "it would be started cold; run fewer processes in one container", forbids=False)


def _own_notes(
    member: Member, found: guarded.Guarded, what: Traits | None, servers: Collection[str]
) -> Iterator[Obstacle]:
    others = sorted(set(servers) - {member.container.name})
    if what and what.fuse and others:
        yield Obstacle(
            f"a FUSE file system is mounted in it ({what.fuse[0]}), and {', '.join(others)} serves one",
            "a server cannot be saved and is stopped at a shutdown; if it is this one's, have this one depend on it",
            forbids=False,
        )
    chosen = _chosen(member)
    if chosen.mode is not Mode.CHECKPOINT:
        yield Obstacle(f"will not be saved: {chosen.why}", "take that back if it is not meant", forbids=False)
    if member.policy.pre_dump and not criu_features.tracks_memory():
        yield Obstacle(
            f"{PRE_DUMP}: {ahead.NO_TRACKING}",
            "it is saved without; another kernel has it, Debian's for one",
            forbids=False,
        )
    for problem in (*member.policy.problems, *found.graph.problems(member.container.id)):
        yield Obstacle(problem, "correct the label", forbids=False)


def _with_connections(
    host: Host, draft: Forecast, container: Container, containers: Sequence[Container], kept: Collection[str]
) -> Forecast:
    """The forecast with what becomes of the container's connections."""
    known = runc.state(container.id) if container.running else None
    if known is None:
        return draft
    try:
        number, lost = peers.losses_by_reboot(
            host.config,
            container,
            containers,
            kept,
            init=known.pid,
            pids=Cgroup(known.cgroup).pids(),
            own_network=known.own_network,
        )
    except (GuardianError, FileNotFoundError, ProcessLookupError) as error:
        return dataclasses.replace(draft, lost=f"its connections could not be looked at: {error}")
    return dataclasses.replace(draft, connections=number, lost=lost)


def _history(ledger: Ledger) -> Iterator[tuple[int, float]]:
    """Bytes and seconds of this host's own earlier checkpoints, the newest ones."""
    for checkpoint in sorted(ledger.all(), key=lambda item: item.id)[-_MOST_HISTORY:]:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            times = json_text.loads((checkpoint.folder / "times.json").read_text())
            # Written ahead, most of it did not have to be written in that time.
            if times["frozen"] and times["dumped"] and not chain.noted(checkpoint.folder):
                yield checkpoint.image_size(), max(times["durable"], times["dumped"]) - times["frozen"]


def _free(ledger: Ledger) -> int:
    try:
        disk = os.statvfs(ledger.store)
    except OSError:
        return 0
    return disk.f_bavail * disk.f_frsize


def _notes() -> Iterator[str]:
    if docker_daemon.live_restore():
        yield "live-restore is on: a restart of dockerd leaves the containers alone, only a shutdown saves them"
