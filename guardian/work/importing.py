"""Import: make the container that an archive is of, and a checkpoint of it that waits to be resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path

from guardian.host import archive_reader, connections, gate, layer, tree_put
from guardian.host.checkpoint import Checkpoint
from guardian.host.command import run
from guardian.host.docker_arrivals import Arrivals
from guardian.model.container import Container
from guardian.model.errors import BadInput, GuardianError
from guardian.work import rebuild
from guardian.work.arrival import OF_THE_ARCHIVE, Arrival, Terms, check, ended
from guardian.work.host import Host
from guardian.work.reception import Reception


@dataclasses.dataclass(frozen=True)
class Imported:
    """What was made."""

    container: Container
    checkpoint: Checkpoint
    connections: int


def take_in(host: Host, arrival: Arrival, terms: Terms, coming: Reception) -> Imported:
    """Make everything, the checkpoint last; raises GuardianError with all that was made removed, but for the image."""
    with contextlib.closing(Arrivals()) as engine:
        same = check(host, engine, arrival, terms)
        try:
            _load_image(engine, arrival)
            rebuild.networks(
                engine,
                arrival.container.networks,
                lambda name: coming.intend("network", name),
            )
            _make_volumes(engine, arrival, coming)
            container = rebuild.container(
                engine,
                arrival.name,
                arrival.inspection,
                arrival.container,
                lambda made: coming.intend("container", made),
            )
            _fill(engine, arrival, container)
            checkpoint = _commit(host, engine, arrival, container)
        except BaseException as error:
            coming.take_back(engine)
            if isinstance(error, OF_THE_ARCHIVE):
                raise GuardianError("the import failed", f"{error!s:.300}") from error
            raise
    coming.forget()
    for other in same:
        gate.lift(other.container_id)
        ended(other, arrival.name)
    return Imported(container, checkpoint, _connections(checkpoint))


def _connections(checkpoint: Checkpoint) -> int:
    try:
        return len(connections.kept(checkpoint))
    except BadInput:
        return 0


def _load_image(engine: Arrivals, arrival: Arrival) -> None:
    manifest = arrival.manifest
    if engine.image_id(manifest.image_id):
        return
    engine.load(archive_reader.image_parts(arrival.folder, manifest))
    if not engine.image_id(manifest.image_id):
        raise BadInput(
            "the archive's image is not the container's",
            f"{manifest.image_id} is not there after loading it",
            hint="an image has another id in another kind of image store",
        )


def _make_volumes(engine: Arrivals, arrival: Arrival, coming: Reception) -> None:
    for volume in {item.name: item for item in arrival.volumes(named=True)}.values():
        there = engine.volume(volume.name)
        if there:
            place = Path(str(there["Mountpoint"]))
            if volume.included and not any(os.scandir(place)):
                _put(arrival, volume.member, place)
            continue
        labels = arrival.volume_facts.get(volume.name, {}).get("Labels") or {}
        coming.intend("volume", volume.name)
        place = engine.make_volume(volume.name, labels)
        _put(arrival, volume.member, place)


def _put(arrival: Arrival, member: str, place: Path) -> None:
    with (arrival.folder / member).open("rb") as file:
        tree_put.put(file, place)


def _fill(engine: Arrivals, arrival: Arrival, container: Container) -> None:
    """Its writable layer, and the volumes that Docker names by itself."""
    upper = engine.upper(container.id)
    _put(arrival, layer.DIFF, upper)
    tree_put.hide(list(arrival.deleted), upper)
    places = {mount.destination: mount for mount in container.mounts if mount.kind == "volume"}
    for volume in arrival.volumes(named=False):
        mount = places.get(volume.destination)
        if volume.included and mount is not None and mount.source.startswith("/"):
            tree_put.clear(Path(mount.source))
            _put(arrival, volume.member, Path(mount.source))
    run(["sync", "--file-system", str(upper)], limit=600.0)


def _commit(host: Host, engine: Arrivals, arrival: Arrival, container: Container) -> Checkpoint:
    """Write the checkpoint, hold the container, then decide: until then it is nothing that may be restored."""
    checkpoint = rebuild.checkpoint(host, engine, arrival, container)
    rebuild.take_images(checkpoint, arrival)
    rebuild.sync(checkpoint)
    gate.hold(container.id, container.name, checkpoint.folder)
    rebuild.complete(checkpoint)
    return checkpoint
