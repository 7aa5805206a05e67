"""Description: what is said of a checkpoint that goes elsewhere, in an archive or in the offer of a move.

Apart from `export`, which reads images: importing what reads them takes 0.1 s, and a move begins with that.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from guardian import __version__
from guardian.host import runc
from guardian.host.docker_engine import Engine
from guardian.host.record import Record
from guardian.model.archive import Manifest, Volume
from guardian.model.errors import UnknownContainer


def describe(
    engine: Engine,
    checkpoint: str,
    record: Record,
    inspection: Mapping[str, Any],
    *,
    volumes: tuple[Volume, ...],
    with_image: bool,
) -> Manifest:
    """What is said of a checkpoint that goes elsewhere; without members. Raises UnknownContainer without its image."""
    container = record.container
    try:
        image = engine.image(container.image_id)
    except UnknownContainer:
        if with_image:
            raise
        image = {}
    host = engine.described()
    name = str((inspection.get("Config") or {}).get("Image") or "")
    tags = [str(tag) for tag in image.get("RepoTags") or ()]
    tags.sort(key=lambda tag: tag not in (name, f"{name}:latest"))
    return Manifest(
        checkpoint=checkpoint,
        container_id=container.id,
        name=container.name,
        taken=record.taken,
        purpose=record.purpose.value,
        architecture=platform.machine(),
        kernel=platform.release(),
        versions={
            "guardian": __version__,
            "criu": ".".join(map(str, runc.criu_version())),
            "runc": runc.version(),
            "engine": str(host.get("ServerVersion") or ""),
        },
        cgroup_driver=str(host.get("CgroupDriver") or ""),
        image_id=container.image_id,
        tags=tuple(tags),
        digests=tuple(str(item) for item in image.get("RepoDigests") or ()),
        image_included=with_image,
        volumes=volumes,
        members=(),
    )
