"""What is known of a checkpoint beside its images: the container as Docker knew it, sizes, what CRIU counted."""

from __future__ import annotations

import dataclasses

from guardian.host.images.folder import Folder
from guardian.host.images.processes import statistics
from guardian.model.inspection import Inspection, Taken
from guardian.work import content, files
from guardian.work.checkpoints import Known


def with_checkpoint(found: Inspection, known: Known) -> Inspection:
    """The facts of the images, and of the checkpoint that they are of; raises BadImage."""
    counted = statistics(Folder(known.checkpoint.folder / "work"))
    return dataclasses.replace(found, statistics=counted, checkpoint=taken(known))


def taken(known: Known) -> Taken:
    """The checkpoint itself."""
    checkpoint, record = known.checkpoint, known.record
    container, shown = record.container, content.inspection_of(known.checkpoint)
    config = shown.get("Config")
    return Taken(
        name=known.named.shown(),
        id=checkpoint.id,
        kind=record.purpose.value,
        taken=record.taken,
        note=record.note,
        container=container.name,
        container_id=container.id,
        image=str(config.get("Image") or "") if isinstance(config, dict) else "",
        image_id=container.image_id,
        runtime=container.runtime or "runc",
        created=str(shown.get("Created") or ""),
        layer=files.layer_size(checkpoint),
        addresses=tuple(text for item in container.networks for text, _ in item.addresses()),
        macs=tuple(item.mac for item in container.networks if item.mac),
        mounts=container.mounts,
    )
