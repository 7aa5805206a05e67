"""An archive that has arrived: unpacked in a folder of the store, and everything looked at before anything is made."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import re
import socket
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from guardian.host import archive_reader, connections, erasure, layer, tree_put
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_arrivals import Arrivals
from guardian.host.docker_networks import PREDEFINED
from guardian.host.record import Record
from guardian.host.tar_reader import BadArchive, Readable
from guardian.model import archive
from guardian.model.archive import Manifest, Volume
from guardian.model.container import Container
from guardian.model.errors import BadInput, GuardianError, StoreError
from guardian.model.move import ports
from guardian.model.states import Purpose, State
from guardian.model.wording import quoted, span_of_time
from guardian.work.host import Host

_RAN = frozenset({State.SPENT.value, State.RUNNING.value, State.DONE.value})
_PROOF = re.compile(r"[0-9]{1,20} [0-9]{1,20} [0-9]{1,20}\n")
_CGROUP = re.compile(r"/sys/fs/cgroup/[A-Za-z0-9_.:@/-]{1,1000}")
_NEEDED = (
    archive.RECORD,
    archive.INSPECTION,
    archive.VOLUME_FACTS,
    archive.PROOF,
    layer.DIFF,
    layer.DELETED,
    f"{archive.IMAGES}inventory.img",
    f"{archive.IMAGES}pstree.img",
)


OF_THE_ARCHIVE = (
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What the disk says while things are made, and Python of descriptions of another shape than they should have."""


@dataclasses.dataclass(frozen=True)
class Terms:
    """What whoever imports has decided. `use_volumes`: those that are there are used as they are."""

    name: str = ""
    use_volumes: bool = False
    force: bool = False


@dataclasses.dataclass(frozen=True)
class Arrival:
    """What an archive holds, every part of it looked at."""

    folder: Path
    manifest: Manifest
    record: Record
    inspection: dict[str, Any]
    volume_facts: dict[str, Any]
    deleted: tuple[str, ...]
    name: str

    @property
    def container(self) -> Container:
        """The container as it was where it comes from."""
        return self.record.container

    def volumes(self, *, named: bool) -> list[Volume]:
        """The volumes that have a name of their user's, or those that Docker named by itself."""
        return [item for item in self.manifest.volumes if _is_anonymous(item.name) is not named]


@contextlib.contextmanager
def unpacked(host: Host, stream: Readable, terms: Terms, folder: Path) -> Iterator[Arrival]:
    """An archive in a folder that goes with the block; raises BadInput or StoreError with nothing changed."""
    store = host.ledger.store
    folder.mkdir(mode=0o700, parents=True)
    try:
        disk = os.statvfs(store)
        room = disk.f_bavail * disk.f_frsize - host.config.reserve
        if room <= 0:
            raise StoreError("no space in the store", hint=f"look at {store}")
        manifest = archive_reader.unpack(stream, folder, most=room, make_images=host.ledger.make_images)
        yield _understood(folder, manifest, terms)
    finally:
        erasure.away(folder, store, overwrite=host.config.erase)


def _understood(folder: Path, manifest: Manifest, terms: Terms) -> Arrival:
    members = {part.name for part in manifest.members}
    included = {volume.member for volume in manifest.volumes if volume.included}
    for name in sorted({*_NEEDED, *included} - members):
        raise BadArchive(f"the archive has no {name!r}")
    if manifest.architecture != platform.machine():
        raise BadInput(f"the archive is for {quoted(manifest.architecture)}", f"this is {platform.machine()}")
    record = Record.from_json(archive_reader.read_json(folder / archive.RECORD))
    inspection = _table(folder / archive.INSPECTION)
    for key in ("Config", "HostConfig"):
        if not isinstance(inspection.get(key), dict):
            raise BadArchive("the container's description does not parse", key)
    if record.container.id != manifest.container_id or inspection.get("Id") != manifest.container_id:
        raise BadArchive("the archive is about more than one container")
    if not _PROOF.fullmatch(_small(folder / archive.PROOF)) or not _CGROUP.fullmatch(record.cgroup):
        raise BadArchive("the record does not parse", "proof or cgroup")
    if not 0 <= record.taken < archive.MOST_SECONDS:
        raise BadArchive("the record does not parse", "when it was taken")
    if archive.CONNECTIONS in members:
        connections.parsed(archive_reader.read_json(folder / archive.CONNECTIONS))
    deleted = tree_put.deleted_in(_small(folder / layer.DELETED).encode())
    for name in sorted(members):
        if name == layer.DIFF or name.startswith(archive.VOLUMES):
            with (folder / name).open("rb") as file:
                tree_put.check(file)
    return Arrival(
        folder=folder,
        manifest=manifest,
        record=record,
        inspection=inspection,
        volume_facts=_table(folder / archive.VOLUME_FACTS),
        deleted=tuple(deleted),
        name=terms.name or record.container.name,
    )


def _table(path: Path) -> dict[str, Any]:
    found = archive_reader.read_json(path)
    if not isinstance(found, dict):
        raise BadArchive(f"{path.name} does not parse", "it is no table")
    return found


def _small(path: Path) -> str:
    """A small file's text; raises BadArchive."""
    if path.stat().st_size > archive.MOST_SMALL:
        raise BadArchive(f"{path.name} is too large")
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise BadArchive(f"{path.name} does not parse", str(error)) from error


def _is_anonymous(name: str) -> bool:
    return len(name) == 64 and not set(name) - set("0123456789abcdef")


def check(host: Host, engine: Arrivals, arrival: Arrival, terms: Terms) -> list[Checkpoint]:
    """Whether this host can take it; raises BadInput. Returns the records here of the same checkpoint, to be ended."""
    check_container(host, arrival, terms)
    check_engine(engine, arrival)
    check_image(engine, arrival)
    check_volumes(engine, arrival, terms)
    for mount in arrival.container.mounts:
        if mount.kind == "bind" and not os.path.lexists(mount.source):
            raise BadInput(
                f"{quoted(mount.source)} is not there", f"it was mounted at {quoted(mount.destination)}"
            )
    same = _same(host, engine, arrival, terms)
    for problem in taken_ports(arrival):
        raise BadInput(problem)
    return same


def check_container(host: Host, arrival: Arrival, terms: Terms, around: Collection[str] = ()) -> None:
    """Raise BadInput where it is too old, or needs a container that is not among the names `around` it."""
    container = arrival.container
    others = {*container.links, *container.volumes_from} - set(around)
    for mode in (container.network_mode, container.ipc_mode, container.pid_mode):
        others |= {mode} if mode.startswith("container:") else set()
    if others:
        raise BadInput(f"{quoted(container.name)} needs another container", quoted(sorted(others)))
    age = time.time() - arrival.record.taken
    if host.config.max_age and age > host.config.max_age and not terms.force:
        raise BadInput(
            f"the checkpoint is {span_of_time(age)} old", "more than restore.max-age", hint="--force"
        )


def check_engine(engine: Arrivals, arrival: Arrival, replaced: Collection[str] = ()) -> None:
    """Raise BadInput where its name is taken, but by one of the ids `replaced`, or Docker is set up too differently."""
    name = arrival.name
    here = engine.containers()
    if any(item.name == name and item.id not in replaced for item in here):
        raise BadInput(f"there is a container {quoted(name)} already", hint="--name gives it another name")
    driver = str(engine.described().get("CgroupDriver") or "")
    if driver != arrival.manifest.cgroup_driver:
        raise BadInput(f"Docker's cgroup driver is {driver} here", f"it was {arrival.manifest.cgroup_driver}")
    there = {str(item["Name"]): item for item in engine.networks().values()}
    for item in arrival.container.networks:
        known = item.name in PREDEFINED or item.name in there
        if not known and item.network.get("Scope") != "local":
            raise BadInput(f"the network {quoted(item.name)} is not here", hint="docker network create")


def check_image(engine: Arrivals, arrival: Arrival) -> None:
    """Raise BadInput where the image is neither here nor in the archive, or would take another's name."""
    manifest = arrival.manifest
    if engine.image_id(manifest.image_id):
        return
    names = ", ".join([*manifest.digests, *manifest.tags]) or manifest.image_id
    if not manifest.image_included:
        raise BadInput(f"the image {names} is not here", hint="docker pull, or export --with-image")
    tags = archive_reader.image_tags(arrival.folder, manifest)
    for tag in sorted(tags):
        if engine.image_id(tag) not in ("", manifest.image_id):
            raise BadInput(
                f"{quoted(tag)} is another image here", "loading the archive's would take its name"
            )


def check_volumes(
    engine: Arrivals, arrival: Arrival, terms: Terms, overwritten: Collection[str] = ()
) -> None:
    """Raise BadInput where a volume is missing, or is here with content and not among the `overwritten`."""
    for volume in arrival.volumes(named=True):
        there = engine.volume(volume.name)
        if there and not terms.use_volumes and volume.name not in overwritten and _has_content(there):
            raise BadInput(
                f"there is a volume {volume.name} with content already",
                hint="--volumes use takes it as it is; else docker volume rm",
            )
        if not there and not volume.included:
            raise BadInput(
                f"the volume {volume.name} is not here and not in the archive",
                hint=f"export --volumes {volume.name}, or make it: docker volume create {volume.name}",
            )
        facts = arrival.volume_facts.get(volume.name)
        known = facts if isinstance(facts, dict) else {}
        if not there and (known.get("Driver") != "local" or known.get("Options")):
            raise BadInput(f"the volume {volume.name} is no plain one", hint="docker volume create makes it")


def _has_content(volume: dict[str, Any]) -> bool:
    try:
        return any(True for _ in os.scandir(str(volume.get("Mountpoint") or "/")))
    except OSError:
        return True  # not to be looked at, so not to be written to


def _same(host: Host, engine: Arrivals, arrival: Arrival, terms: Terms) -> list[Checkpoint]:
    """Records of this very checkpoint. An image may run once: raises BadInput where it has or still may."""
    own, old = arrival.manifest.checkpoint, arrival.container
    here = {container.id: container for container in engine.containers()}
    found = [item for item in host.ledger.all() if own in (item.id, item.origin())]
    source = here.get(old.id)
    problems = []
    # The snapshot itself may be gone: one that was taken for an export is.
    if source is not None and source.running and source.started_at == old.started_at:
        problems.append(f"{source.name}, which it was taken of, goes on")
    for checkpoint in (item for item in found if item.purpose() is Purpose.SUSPEND):
        container = here.get(checkpoint.container_id)
        if _RAN & checkpoint.marks():
            problems.append("it has run already")
        elif container is not None and checkpoint.restorable():
            problems.append(f"it waits here to be resumed as {container.name}")
    if problems and not terms.force:
        raise BadInput(
            f"checkpoint {own} must not run a second time",
            problems[0],
            hint="both would have the same keys and random numbers; --force does it all the same",
        )
    return [item for item in found if item.restorable() and item.container_id not in here]


def said(arrival: Arrival, there: str = "this host") -> list[str]:
    """What the container gets of the host, for whoever has not made the archive; and what differs."""
    host = arrival.inspection["HostConfig"]
    found = []
    if host.get("Privileged"):
        found.append("it is privileged")
    kinds = [kind for kind in ("Network", "Pid", "Ipc", "UTS") if host.get(f"{kind}Mode") == "host"]
    found += [f"it shares the host's {kind.lower()} namespace" for kind in kinds]
    for key, words in (
        ("CapAdd", "capabilities"),
        ("Devices", "devices"),
        ("SecurityOpt", "security options"),
    ):
        if host.get(key):
            found.append(f"it gets {words}: {quoted(str(host[key]))}")
    binds = [mount.source for mount in arrival.container.mounts if mount.kind == "bind"]
    if binds:
        found.append(f"it gets of {there}: {quoted(', '.join(binds))}")
    here = platform.release()
    if arrival.manifest.kernel != here:
        found.append(f"it was taken on kernel {quoted(arrival.manifest.kernel)}, this is {here}")
    return found


def ended(checkpoint: Checkpoint, name: str) -> None:
    """Write down that a record here is not to be used any more: its copy is."""
    with contextlib.suppress(OSError, GuardianError):
        checkpoint.mark(State.ORPHANED, f"it was imported as {name}")


def taken_ports(guest: Arrival) -> list[str]:
    """The ports of this host that it publishes and that cannot be had, in words."""
    found = []
    for port in ports(guest.inspection):
        kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
        family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
        if port.protocol not in ("tcp", "udp"):
            continue
        with socket.socket(family, kind) as probe:
            # What an earlier connection has left does not count, only who listens.
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((port.address, port.number))
            except OSError as error:
                where = os.uname().nodename
                found.append(
                    f"{quoted(guest.name)} publishes {port}, which is not to be had on {where}: {error.strerror}"
                )
    return found
