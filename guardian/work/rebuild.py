"""Rebuild: makes here what a container from elsewhere needs, and a checkpoint of it that may be restored."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from guardian.host import chain, docker_arrivals, durable, proc
from guardian.host.checkpoint import Checkpoint
from guardian.host.command import run
from guardian.host.docker_arrivals import Arrivals
from guardian.host.docker_networks import PREDEFINED, by_name, subnets, taken, without_subnets
from guardian.model import archive
from guardian.model.container import Attachment, Container
from guardian.model.errors import BadInput, GuardianError
from guardian.model.move import overlapping
from guardian.model.states import Purpose, State, Verdict
from guardian.work import content
from guardian.work.arrival import Arrival
from guardian.work.host import Host

_PORTION = 500
_SYNC_LIMIT = 600.0


def networks(engine: Arrivals, wanted: Iterable[Attachment], intend: Callable[[str], None]) -> None:
    """Make the networks that are missing as they were, with other subnets where theirs are taken here.

    `intend` is told the name of each beforehand.
    """
    known = engine.networks().values()
    there = {str(item["Name"]) for item in known}
    for item in {item.name: item for item in wanted}.values():
        if item.name not in PREDEFINED and item.name not in there:
            intend(item.name)
            free = not overlapping(subnets(item.network), taken(known))
            engine.make_network(item if free else without_subnets(item))


def container(
    engine: Arrivals,
    name: str,
    inspection: Mapping[str, Any],
    old: Container,
    made: Callable[[str], None] = lambda _: None,
) -> Container:
    """Make the container as it was, not started; `made` is told its id as soon as it is there."""
    image = str(inspection["Config"].get("Image") or "")
    image = image if engine.image_id(image) == old.image_id else old.image_id
    body = docker_arrivals.body_from(inspection, image, old.networks, old.id)
    container_id = engine.create(name, body)
    made(container_id)
    mode = str(body["HostConfig"].get("NetworkMode") or "default")
    for item in old.networks:
        if item.name not in (*PREDEFINED, mode):
            engine.connect(container_id, item)
    found = engine.container(container_id)
    if found.remapped != old.remapped:
        raise BadInput("Docker remaps users here and there not, or there and not here")
    return found


def checkpoint(host: Host, engine: Arrivals, arrival: Arrival, made: Container) -> Checkpoint:
    """A record of the container that was made, without its images; not yet complete."""
    old = arrival.record
    record = dataclasses.replace(
        old,
        container=dataclasses.replace(
            made,
            networks=_with_addresses(made, arrival.container, engine.networks().values()),
            paused=old.container.paused,
        ),
        purpose=Purpose.SUSPEND,
        boot=proc.boot_id(),
        group=(made.id,),
        cgroup=old.cgroup.replace(old.container.id, made.id),
        by_person=True,
    )
    if (
        record.cgroup == old.cgroup
        or ".." in record.cgroup
        or not record.cgroup.startswith("/sys/fs/cgroup/")
    ):
        raise BadInput("the archive's cgroup is none of Docker's", repr(old.cgroup))
    begun = host.ledger.begin(record)
    durable.write(begun.folder / "origin", f"{arrival.manifest.checkpoint}\n")
    shown = json.dumps(engine.inspection(made.id), indent=1)
    durable.write(begun.folder / content.INSPECTION, f"{shown}\n")
    for member, name in ((archive.PROOF, "proof"), (archive.CONNECTIONS, "connections.json")):
        if (arrival.folder / member).exists():
            os.rename(arrival.folder / member, begun.folder / name)
    return begun


def take_images(found: Checkpoint, arrival: Arrival) -> None:
    """Give a checkpoint the images that lie in the arrival's folder."""
    images = found.folder / "img"
    for name in sorted(os.listdir(arrival.folder / archive.IMAGES)):
        os.rename(arrival.folder / archive.IMAGES / name, images / name)
    chain.make_links(images)
    _rename_cgroup(images / "cgroup.img", arrival.container.id, found.container_id)


def sync(found: Checkpoint) -> None:
    """Have a checkpoint's images and what lies beside them on the disk."""
    images = found.folder / "img"
    parts = chain.folders(images)
    beside = (*parts, found.folder / "proof", found.folder)
    files = [str(path) for path in (*(file for part in parts for file in part.iterdir()), *beside)]
    for start in range(0, len(files), _PORTION):
        run(["sync", *files[start : start + _PORTION]], limit=_SYNC_LIMIT)
    found.mark(State.DURABLE)


def sync_folders(folders: Iterable[Path]) -> None:
    """Have the file systems that folders lie on written out, each once; raises CommandFailed."""
    for folder in {os.stat(folder).st_dev: folder for folder in folders}.values():
        run(["sync", "--file-system", str(folder)], limit=_SYNC_LIMIT)


def complete(found: Checkpoint) -> None:
    """Decide that a checkpoint, whose container is held, may be restored."""
    found.mark(State.HELD)
    if found.decide(Verdict.COMMIT) is not Verdict.COMMIT:
        raise GuardianError("somebody else has given the checkpoint up", hint="try again")
    found.mark(State.COMMITTED)
    found.mark(State.KILLED)


def _rename_cgroup(image: Path, old: str, new: str) -> None:
    """Have CRIU restore into the new container's cgroup: not every runc tells it to leave cgroups alone (1.1, seen).

    Ids are of one length, so nothing else in the image changes.
    """
    if image.exists():
        if image.stat().st_size > archive.MOST_SMALL:
            raise BadInput("cgroup.img is too large")
        image.write_bytes(image.read_bytes().replace(old.encode(), new.encode()))


def _with_addresses(
    made: Container, old: Container, there: Collection[Mapping[str, Any]]
) -> tuple[Attachment, ...]:
    """Its networks here, with the addresses it had there where the network has the same subnets."""
    before = {item.name: item for item in old.networks}
    found = []
    for item in (by_name(item, there) for item in made.networks):
        was = before.get(item.name)
        if was is not None and subnets(was.network) == subnets(item.network):
            found.append(
                dataclasses.replace(
                    item,
                    address4=was.address4,
                    address6=was.address6,
                    prefix4=was.prefix4,
                    prefix6=was.prefix6,
                    mac=was.mac,
                )
            )
        else:
            found.append(item)
    return tuple(found)
