"""Export: a checkpoint, with all that is needed to resume it elsewhere, as one archive, streamed."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from guardian.host import layer, tree
from guardian.host.archive_writer import ArchiveWriter
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine
from guardian.host.record import Record
from guardian.host.tree import Write
from guardian.model import archive, json_text, podman
from guardian.model.archive import Manifest, Volume
from guardian.model.errors import BadInput, GuardianError
from guardian.model.states import Purpose
from guardian.work import content, files
from guardian.work.description import describe

_BESIDE = ((archive.CONNECTIONS, "connections.json"), (archive.PROOF, "proof"))
_WORK = ("stats-dump", "dump.log")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What goes into the archive beside the checkpoint. `volumes`: `none`, `all`, or names with commas."""

    image: bool = False
    volumes: str = "none"


def remarks(checkpoint: Checkpoint, wanted: Wanted) -> list[str]:
    """What whoever exports should know."""
    record = checkpoint.record()
    found = []
    volumes = archive.chosen(record.container.mounts, wanted.volumes)
    left = sorted(volume.name for volume in volumes if not volume.included)
    if left:
        found.append(f"volumes that are not in the archive: {', '.join(left)}")
    binds = sorted(mount.source for mount in record.container.mounts if mount.kind == "bind")
    if binds:
        found.append(f"bind mounts that must be there where it is imported: {', '.join(binds)}")
    if record.purpose is Purpose.SNAPSHOT and any(volume.included for volume in volumes):
        found.append("the container has gone on since: its volumes are newer than its memory")
    return found


def export(checkpoint: Checkpoint, wanted: Wanted, write: Write) -> Manifest:
    """Write the archive; raises GuardianError, and then what was written is of no use."""
    problem = files.layer_problem(checkpoint)
    if problem:
        raise BadInput(f"checkpoint {checkpoint.id} cannot be exported", problem)
    record = checkpoint.record()
    with contextlib.closing(Engine()) as engine:
        inspection = _inspection(checkpoint, record, engine)
        volumes = archive.chosen(record.container.mounts, wanted.volumes)
        manifest = describe(
            engine, checkpoint.id, record, inspection, volumes=volumes, with_image=wanted.image
        )
        out = ArchiveWriter(write)
        _metadata(out, checkpoint, record, inspection)
        out.json(archive.VOLUME_FACTS, {item.name: engine.volume(item.name) for item in manifest.volumes})
        out.images(checkpoint.folder / "img")
        _layer(out, checkpoint)
        for volume in {item.name: item for item in manifest.volumes if item.included}.values():
            _volume(out, record, volume)
        if wanted.image:
            out.parts(engine.saved_image(manifest.tags[0] if manifest.tags else manifest.image_id))
    problem = files.layer_problem(checkpoint)
    if problem:
        raise GuardianError(f"checkpoint {checkpoint.id} was used while it was exported", problem)
    return out.finish(manifest)


def _inspection(checkpoint: Checkpoint, record: Record, engine: Engine) -> dict[str, Any]:
    """As it was noted at the checkpoint; where it was not, as it is now."""
    try:
        return dict(json_text.loads((checkpoint.folder / content.INSPECTION).read_text()))
    except (OSError, ValueError, TypeError):
        return engine.inspection(record.container.id)


def _metadata(
    out: ArchiveWriter,
    checkpoint: Checkpoint,
    record: Record,
    inspection: Mapping[str, Any],
) -> None:
    """podman's description of it, and ours."""
    taken = datetime.datetime.fromtimestamp(record.taken, datetime.UTC).isoformat()
    out.json("config.dump", podman.config(record.container, inspection, taken))
    out.json("spec.dump", podman.spec(record.container, inspection))
    out.json("network.status", podman.networks(record.container))
    for name in _WORK:
        path = checkpoint.folder / "work" / name
        if path.exists():
            out.file(name, path)
    out.json(archive.RECORD, record.to_json())
    out.json(archive.INSPECTION, inspection)
    out.json(archive.NETWORKS, {item.name: dict(item.network) for item in record.container.networks})
    for member, name in _BESIDE:
        if (checkpoint.folder / name).exists():
            out.file(member, checkpoint.folder / name)


def _layer(out: ArchiveWriter, checkpoint: Checkpoint) -> None:
    kept = checkpoint.folder / layer.DIFF
    if kept.exists():
        out.file(layer.DIFF, kept)
        out.file(layer.DELETED, checkpoint.folder / layer.DELETED)
        return
    found = content.layer_of(checkpoint)
    assert found is not None
    length, _ = layer.write(found, None)
    with out.member(layer.DIFF, length) as write:
        _, deleted = layer.write(found, write)
    out.data(layer.DELETED, deleted)


def _volume(out: ArchiveWriter, record: Record, volume: Volume) -> None:
    source = next(mount.source for mount in record.container.mounts if mount.volume == volume.name)
    with out.member(volume.member, tree.write(source, None)) as write:
        tree.write(source, write)
