"""Welcome: everything that could be in the way of containers that want to come, looked at before anything is made."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from guardian.host import criu_cpu, docker_networks, hooks, runc
from guardian.host.docker_arrivals import Arrivals
from guardian.host.record import Record
from guardian.model.container import Attachment
from guardian.model.errors import BadInput, GuardianError
from guardian.model.move import Offer, Offered, incompatible, overlapping
from guardian.model.states import State
from guardian.model.wording import quoted
from guardian.work import address_hook, arrival
from guardian.work.arrival import Arrival, Terms
from guardian.work.host import Host

_MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Welcome:
    """What was found. `replaced` are containers here that moved away and give way, by name; `images` are missing."""

    guests: tuple[Arrival, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    images: tuple[str, ...]
    replaced: Mapping[str, str]
    overwritten: frozenset[str]


def look(host: Host, engine: Arrivals, offer: Offer, staging: Path) -> Welcome:
    """Look at everything; raises BadInput only where the offer does not parse."""
    guests = tuple(
        _guest(item, staging / str(number), offer.names) for number, item in enumerate(offer.members)
    )
    known = engine.containers()
    away = {item.id for item in known if _moved_away(host, item.id)}
    replaced = {item.name: item.id for item in known if item.id in away and not item.running}
    overwritten = frozenset(
        volume.name
        for guest in guests
        for volume in guest.volumes(named=True)
        if offer.overwrite_volumes or _is_stale(engine, volume.name, away)
    )
    problems: list[str] = []
    for check in _checks(host, engine, offer, guests, frozenset(replaced.values()), overwritten):
        try:
            problems += check()
        except GuardianError as error:
            problems.append(f"{error.what}: {error.why}" if error.why else error.what)
    images = {guest.manifest.image_id for guest in guests if not engine.image_id(guest.manifest.image_id)}
    return Welcome(
        guests=guests,
        problems=tuple(dict.fromkeys(problems)),
        remarks=tuple(dict.fromkeys(_remarks(engine, guests))),
        images=tuple(sorted(images)),
        replaced={guest.name: replaced[guest.name] for guest in guests if guest.name in replaced},
        overwritten=overwritten,
    )


def _guest(item: Offered, folder: Path, names: Mapping[str, str]) -> Arrival:
    try:
        record = Record.from_json(item.record)
    except (AttributeError, RecursionError) as error:
        raise BadInput("the record does not parse", str(error)) from error
    same = {record.container.id, item.manifest.container_id, item.inspection.get("Id")}
    if len(same) != 1:
        raise BadInput("the offer does not parse", "it says different ids of one container")
    return Arrival(
        folder=folder,
        manifest=item.manifest,
        record=record,
        inspection=dict(item.inspection),
        volume_facts=dict(item.volumes),
        deleted=(),
        name=names.get(record.container.name, record.container.name),
    )


def _moved_away(host: Host, container_id: str) -> bool:
    found = host.ledger.elsewhere(container_id)
    return found is not None and found.state() is State.MOVED


def _is_stale(engine: Arrivals, volume: str, away: set[str]) -> bool:
    """Whether only containers that moved away have a volume: its content went with them."""
    users = engine.users_of(volume)
    return bool(users) and set(users) <= away


_Check = Callable[[], Sequence[str]]


def _checks(
    host: Host,
    engine: Arrivals,
    offer: Offer,
    guests: Sequence[Arrival],
    replaced: frozenset[str],
    overwritten: frozenset[str],
) -> Iterator[_Check]:
    around = [guest.container.name for guest in guests]
    yield lambda: [found] if (found := runc.unsupported()) else []
    yield partial(_processor, offer)
    yield partial(_space, host, engine, offer)
    for guest in guests:
        yield partial(_versions, engine, guest)
        yield partial(_refused, arrival.check_container, host, guest, Terms(), around)
        yield partial(_refused, arrival.check_engine, engine, guest, replaced)
        yield partial(_refused, arrival.check_volumes, engine, guest, Terms(), overwritten)
        yield partial(_binds, guest)
        yield partial(_hook, host, guest)
        yield partial(arrival.taken_ports, guest)
        yield partial(_networks, engine, guest)


def _refused(check: Callable[..., None], *arguments: Any) -> list[str]:
    """A check that raises what is wrong."""
    check(*arguments)
    return []


def _processor(offer: Offer) -> list[str]:
    try:
        found = criu_cpu.problem(bytes.fromhex(offer.cpu)) if offer.cpu else ""
    except ValueError as error:
        raise BadInput("the offer does not parse", "cpu") from error
    return [f"what runs on the processor there may not go on here: {found}"] if found else []


def _versions(engine: Arrivals, guest: Arrival) -> list[str]:
    return list(
        incompatible(
            guest.manifest,
            criu=".".join(map(str, runc.criu_version())),
            cgroup_driver=str(engine.described().get("CgroupDriver") or ""),
            architecture=platform.machine(),
        )
    )


def _space(host: Host, engine: Arrivals, offer: Offer) -> list[str]:
    """The images go into the store, the files where Docker has its own: it may be one file system."""
    store = host.ledger.store
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = Path(str(engine.described().get("DockerRootDir") or "/var/lib/docker"))
    memory, files = (sum(getattr(item.size, key) for item in offer.members) for key in ("memory", "files"))
    wanted = {store: memory + host.config.reserve, root: files}
    if os.stat(store).st_dev == os.stat(root).st_dev:
        wanted = {store: memory + files + host.config.reserve}
    found = []
    for place, size in wanted.items():
        disk = os.statvfs(place)
        free = disk.f_bavail * disk.f_frsize
        if free < size:
            found.append(f"not enough space at {place}: {free // _MIB} MiB, {size // _MIB} MiB are wanted")
    return found


def _binds(guest: Arrival) -> list[str]:
    return [
        f"{quoted(mount.source)} is not there, it was mounted at {quoted(mount.destination)}"
        for mount in guest.container.mounts
        if mount.kind == "bind" and not os.path.lexists(mount.source)
    ]


def _hook(host: Host, guest: Arrival) -> list[str]:
    name = address_hook.named(host.config, guest.container)
    if name:
        hooks.find(name)
    return []


def _networks(engine: Arrivals, guest: Arrival) -> list[str]:
    """Addresses that were asked for must be had; others only cost connections, and are remarked upon."""
    found = []
    there = {str(item["Name"]): item for item in engine.networks().values()}
    for item in guest.container.networks:
        if not item.pinned:
            continue
        here = there.get(item.name)
        if here is None:
            if overlapping(docker_networks.subnets(item.network), docker_networks.taken(there.values())):
                found.append(
                    f"the subnet of {quoted(item.name)} overlaps another here, and {item.address4} was asked for"
                )
        elif not overlapping([item.address4], docker_networks.subnets(here)):
            found.append(
                f"{item.address4} was asked for, and the network {quoted(item.name)} has other subnets here"
            )
        elif item.address4 in _in_use(engine, item):
            found.append(f"{item.address4} is taken on the network {quoted(item.name)}")
    return found


def _in_use(engine: Arrivals, item: Attachment) -> set[str]:
    shown = engine.network(item.name).get("Containers") or {}
    return {str(each.get("IPv4Address") or "").partition("/")[0] for each in shown.values()}


def _remarks(engine: Arrivals, guests: Sequence[Arrival]) -> Iterator[str]:
    there = {str(item["Name"]): item for item in engine.networks().values()}
    for guest in guests:
        for text in arrival.said(guest, os.uname().nodename):
            yield f"{guest.name}: {text}" if not text.startswith("it was taken on kernel") else text
        for item in guest.container.networks:
            here = there.get(item.name)
            if item.name in ("host", "none") or item.pinned:
                continue
            wanted = docker_networks.subnets(item.network)
            if (here is not None and docker_networks.subnets(here) != wanted) or (
                here is None and overlapping(wanted, docker_networks.taken(there.values()))
            ):
                yield f"{guest.name}: another address on {quoted(item.name)}, all its connections are closed"
            elif here is not None and item.address4 in _in_use(engine, item):
                yield f"{guest.name}: {item.address4} is taken on {quoted(item.name)}, its connections are closed"
