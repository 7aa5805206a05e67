"""Import: make the container that an archive is of, and a checkpoint of it that waits to be resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

from guardian.host import archive_reader, connections, docker_arrivals, durable, gate, layer, proc, tree_put
from guardian.host.command import run
from guardian.host.docker_arrivals import Arrivals
from guardian.host.docker_networks import PREDEFINED
from guardian.host.ledger import Checkpoint, remove
from guardian.model import archive
from guardian.model.container import Attachment, Container
from guardian.model.errors import BadInput, GuardianError
from guardian.model.states import Purpose, State, Verdict
from guardian.work import content
from guardian.work.arrival import OF_THE_ARCHIVE, Arrival, Terms, check, ended
from guardian.work.host import Host

_PORTION = 500


@dataclasses.dataclass(frozen=True)
class Imported:
    """What was made."""

    container: Container
    checkpoint: Checkpoint
    connections: int


class _Undo:
    """What has to be taken back when a later step fails; the latest first."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], None]] = []

    def add(self, step: Callable[[], None]) -> None:
        self._steps.append(step)

    def run(self) -> None:
        for step in reversed(self._steps):
            with contextlib.suppress(GuardianError, OSError):
                step()


def take_in(host: Host, arrival: Arrival, terms: Terms) -> Imported:
    """Make everything, the checkpoint last; raises GuardianError with all that was made removed, but for the image."""
    undo = _Undo()
    with contextlib.closing(Arrivals()) as engine:
        same = check(host, engine, arrival, terms)
        try:
            _load_image(engine, arrival)
            _make_networks(engine, arrival, undo)
            _make_volumes(engine, arrival, undo)
            container = _make_container(engine, arrival, undo)
            _fill(engine, arrival, container)
            checkpoint = _commit(host, engine, arrival, container, undo)
        except BaseException as error:
            undo.run()
            if isinstance(error, OF_THE_ARCHIVE):
                raise GuardianError("the import failed", f"{error!s:.300}") from error
            raise
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


def _make_networks(engine: Arrivals, arrival: Arrival, undo: _Undo) -> None:
    there = {str(item["Name"]) for item in engine.networks().values()}
    for item in arrival.container.networks:
        if item.name not in PREDEFINED and item.name not in there:
            engine.make_network(item)
            undo.add(lambda name=item.name: engine.remove_network(name))  # type: ignore[misc]


def _make_volumes(engine: Arrivals, arrival: Arrival, undo: _Undo) -> None:
    for volume in {item.name: item for item in arrival.volumes(named=True)}.values():
        there = engine.volume(volume.name)
        if there:
            place = Path(str(there["Mountpoint"]))
            if volume.included and not any(os.scandir(place)):
                _put(arrival, volume.member, place)
            continue
        labels = arrival.volume_facts.get(volume.name, {}).get("Labels") or {}
        place = engine.make_volume(volume.name, labels)
        undo.add(lambda name=volume.name: engine.remove_volume(name))  # type: ignore[misc]
        _put(arrival, volume.member, place)


def _put(arrival: Arrival, member: str, place: Path) -> None:
    with (arrival.folder / member).open("rb") as file:
        tree_put.put(file, place)


def _make_container(engine: Arrivals, arrival: Arrival, undo: _Undo) -> Container:
    old = arrival.container
    name = str(arrival.inspection["Config"].get("Image") or "")
    image = name if engine.image_id(name) == old.image_id else old.image_id
    body = docker_arrivals.body_from(arrival.inspection, image, old.networks, old.id)
    made = engine.create(arrival.name, body)
    undo.add(lambda: engine.remove(made))
    mode = str(body["HostConfig"].get("NetworkMode") or "default")
    for item in old.networks:
        if item.name not in (*PREDEFINED, mode):
            engine.connect(made, item)
    container = engine.container(made)
    if container.remapped != old.remapped:
        raise BadInput("Docker remaps users here and there not, or there and not here")
    return container


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


def _commit(host: Host, engine: Arrivals, arrival: Arrival, container: Container, undo: _Undo) -> Checkpoint:
    """Write the checkpoint, hold the container, then decide: until then it is nothing that may be restored."""
    old = arrival.record
    record = dataclasses.replace(
        old,
        container=dataclasses.replace(
            container, networks=_with_addresses(container, arrival.container), paused=old.container.paused
        ),
        purpose=Purpose.SUSPEND,
        boot=proc.boot_id(),
        group=(container.id,),
        cgroup=old.cgroup.replace(old.container.id, container.id),
        by_person=True,
    )
    if (
        record.cgroup == old.cgroup
        or ".." in record.cgroup
        or not record.cgroup.startswith("/sys/fs/cgroup/")
    ):
        raise BadInput("the archive's cgroup is none of Docker's", repr(old.cgroup))
    checkpoint = host.ledger.begin(record)
    undo.add(lambda: remove(checkpoint))
    undo.add(lambda: gate.lift(container.id))
    durable.write(checkpoint.folder / "origin", f"{arrival.manifest.checkpoint}\n")
    durable.write(checkpoint.folder / content.INSPECTION, _text(engine, container))
    for member, name in ((archive.PROOF, "proof"), (archive.CONNECTIONS, "connections.json")):
        if (arrival.folder / member).exists():
            os.rename(arrival.folder / member, checkpoint.folder / name)
    images = checkpoint.folder / "img"
    for name in sorted(os.listdir(arrival.folder / archive.IMAGES)):
        os.rename(arrival.folder / archive.IMAGES / name, images / name)
    _rename_cgroup(images / "cgroup.img", old.container.id, container.id)
    files = [
        str(path) for path in (*images.iterdir(), images, checkpoint.folder / "proof", checkpoint.folder)
    ]
    for start in range(0, len(files), _PORTION):
        run(["sync", *files[start : start + _PORTION]], limit=600.0)
    checkpoint.mark(State.DURABLE)
    gate.hold(container.id, container.name, checkpoint.folder)
    checkpoint.mark(State.HELD)
    if checkpoint.decide(Verdict.COMMIT) is not Verdict.COMMIT:
        raise GuardianError("somebody else has given the checkpoint up", hint="try again")
    checkpoint.mark(State.COMMITTED)
    checkpoint.mark(State.KILLED)
    return checkpoint


def _rename_cgroup(image: Path, old: str, new: str) -> None:
    """Have CRIU restore into the new container's cgroup: not every runc tells it to leave cgroups alone (1.1, seen).

    Ids are of one length, so nothing else in the image changes.
    """
    if image.exists():
        if image.stat().st_size > archive.MOST_SMALL:
            raise BadInput("cgroup.img is too large")
        image.write_bytes(image.read_bytes().replace(old.encode(), new.encode()))


def _text(engine: Arrivals, container: Container) -> str:
    return json.dumps(engine.inspection(container.id), indent=1) + "\n"


def _with_addresses(container: Container, old: Container) -> tuple[Attachment, ...]:
    """Its networks here, with the addresses it had there where the network has the same subnets."""
    before = {item.name: item for item in old.networks}
    found = []
    for item in container.networks:
        was = before.get(item.name)
        if was is not None and _subnets(was) == _subnets(item):
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


def _subnets(item: Attachment) -> list[str]:
    return sorted(str(pool.get("Subnet")) for pool in (item.network.get("IPAM") or {}).get("Config") or ())
