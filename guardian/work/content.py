"""What is kept beside CRIU's images, to look into a checkpoint or to take it elsewhere: files and configuration."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

from guardian.host import criu_cpu, docker_daemon, durable, layer
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine
from guardian.host.layer import Layer
from guardian.model import json_text
from guardian.model.container import Container
from guardian.model.errors import GuardianError
from guardian.model.states import Purpose

INSPECTION = "container.json"
"""In a checkpoint's folder: the container as `docker inspect` showed it just before."""
NOT_KEPT = "its files were not kept"
"""How the remark on a snapshot without its layer begins."""
_ENGINE_LIMIT = 5.0

log = logging.getLogger("guardian.checkpoint")


def note(checkpoint: Checkpoint, container: Container, pid: int) -> None:
    """Write down where the layer is and how Docker shows the container; its failure costs nothing.

    Before the freeze. Only for a snapshot dockerd is asked: on the way down it may hang, and what is suspended can be
    asked for later, since its container stays.
    """
    try:
        layer.note(checkpoint.folder, pid, container)
        criu_cpu.note(checkpoint)
        _look_at_size(checkpoint)
        if checkpoint.purpose() is Purpose.SNAPSHOT and docker_daemon.running_pid():
            with contextlib.closing(Engine(limit=_ENGINE_LIMIT)) as engine:
                shown = engine.inspection(container.id)
            durable.write(checkpoint.folder / INSPECTION, json.dumps(shown, indent=1) + "\n")
    except (GuardianError, OSError, ValueError) as error:
        log.warning("%s: not all that an export needs is noted: %s", container.name, error)


def inspection_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The container as Docker showed it; as it does now where that was not noted, empty where it cannot be asked."""
    try:
        return dict(json_text.loads((checkpoint.folder / INSPECTION).read_text()))
    except (OSError, ValueError, TypeError):
        pass
    try:
        with contextlib.closing(Engine(limit=_ENGINE_LIMIT)) as engine:
            return engine.inspection(checkpoint.container_id)
    except GuardianError:
        return {}


def _look_at_size(checkpoint: Checkpoint) -> None:
    """A layer that is too large for a snapshot is not begun while its container stands still."""
    found = layer.noted(checkpoint.folder)
    if checkpoint.purpose() is Purpose.SNAPSHOT and found is not None:
        try:
            layer.check_size(found, checkpoint.folder)
        except GuardianError as error:
            checkpoint.remark(f"{NOT_KEPT}: {error}")


def layer_of(checkpoint: Checkpoint) -> Layer | None:
    """Where the container's layer was at the checkpoint; None where that is not known."""
    found = layer.noted(checkpoint.folder)
    if found is not None:
        return found
    # The images know as well; their reader is not everywhere, and no checkpoint may depend on it.
    from guardian.host.images import files  # noqa: PLC0415
    from guardian.host.images.folder import Folder  # noqa: PLC0415

    known = checkpoint.record().container.layer
    for mount in files.mounts(Folder(checkpoint.folder / "img")):
        if mount.target == "/" and mount.type in ("overlay", "overlayfs"):
            return layer.parse(mount.options, known)
    return None


def keep_files(checkpoint: Checkpoint) -> None:
    """Copy the layer of a container that stands still and will go on; what fails becomes a remark."""
    if any(text.startswith(NOT_KEPT) for text in checkpoint.remarks()):
        return
    try:
        found = layer.noted(checkpoint.folder)
        if found is None:
            raise GuardianError("its root is no overlay")
        layer.keep(found, checkpoint.folder)
    except (GuardianError, OSError) as error:
        with contextlib.suppress(OSError):
            checkpoint.remark(f"{NOT_KEPT}: {error}")
