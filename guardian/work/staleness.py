"""Whether a checkpoint still fits the files outside of it: those its processes have open or mapped, or whole volumes.

Noted while the container stands still, after CRIU has looked at the same files; looked at again before anything of its
group runs, by paths of the host.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from guardian.host import durable, held_files, layer
from guardian.host.checkpoint import Checkpoint
from guardian.model import json_text, plain
from guardian.model.config import Config
from guardian.model.container import Container
from guardian.model.held_files import FORMAT, Held, difference
from guardian.model.labels import Stale
from guardian.model.wording import printable
from guardian.work import guarded

NOTE = "held-files.json"
"""In a checkpoint's folder."""
MOST_FILES = 200_000
"""Files of a container's volumes that are looked at where a change of any of them counts: about 2 s from the cache."""

log = logging.getLogger("guardian.staleness")


def note(checkpoint: Checkpoint, container: Container, init: int, pids: Sequence[int]) -> None:
    """Write down what the frozen processes hold; what cannot be noted is said with the restore."""
    try:
        mountpoints = held_files.mountpoints()
        held = Held(
            frozen=time.time_ns(),
            mounted=tuple(item for item, source in _sources(container).items() if source in mountpoints),
            files=held_files.of_processes(container, init, pids),
        )
        durable.write(checkpoint.folder / NOTE, json.dumps(dataclasses.asdict(held)) + "\n")
    except (OSError, ValueError) as error:
        checkpoint.remark(f"its open files could not be noted, nobody knows whether they changed: {error}")


def changed(checkpoint: Checkpoint, container: Container, config: Config) -> str:
    """Why the checkpoint does not fit its files any more; empty where it does, or where nobody wants to know.

    Of a container of another host nothing was noted: its files came with it.
    """
    policy = guarded.policy_of(container, config).stale
    path = checkpoint.folder / NOTE
    if policy is Stale.NEVER or not path.exists():
        return ""
    try:
        held = plain.made(Held, json_text.loads(path.read_text()), more=True)
        if held.format != FORMAT:
            raise ValueError(f"format {held.format} is not known")
    except (OSError, ValueError) as error:
        log.warning("%s: %s cannot be read, its open files are not compared: %s", container.name, NOTE, error)
        return ""
    sources = dict(_there(container, held))
    found = _files(held, sources, layer.noted(checkpoint.folder))
    return found or (_volumes(held, sources) if policy is Stale.VOLUME else "")


def _sources(container: Container) -> dict[str, str]:
    return {mount.destination: mount.source for mount in container.mounts if mount.source}


def _there(container: Container, held: Held) -> Iterator[tuple[str, str]]:
    """The sources that can be looked at: dockerd mounts some only when the container starts."""
    mountpoints = held_files.mountpoints()
    for destination, source in _sources(container).items():
        if destination in held.mounted and source not in mountpoints:
            log.info("%s: %s is mounted with its start, it is not compared", container.name, destination)
        else:
            yield destination, source


def _files(held: Held, sources: Mapping[str, str], layers: layer.Layer | None) -> str:
    for before in held.files:
        if before.place.destination not in sources and (before.place.destination or layers is None):
            continue
        try:
            found = difference(before, held_files.now(before, sources, layers))
        except OSError as error:
            found = f"cannot be looked at: {error.strerror}"
        if found:
            return f"{printable(str(before.place))}, which it has open or mapped, {found}"
    return ""


def _volumes(held: Held, sources: Mapping[str, str]) -> str:
    for destination, source in sorted(sources.items()):
        try:
            found = held_files.written_after(Path(source), held.frozen, most=MOST_FILES)
        except held_files.TooMany:
            return f"its volume {printable(destination)} has too many files to be compared (guardian.stale=volume)"
        except OSError as error:
            return f"its volume {printable(destination)} cannot be looked at: {error.strerror}"
        if found:
            return f"its volume {printable(destination)} changed: {printable(found)} (guardian.stale=volume)"
    return ""
