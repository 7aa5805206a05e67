"""Containers that could be neither saved nor written down as stopped: what the next start of dockerd must know of them.

Not in the store, which is what cannot be written; where nothing beside it can either, in /run until the host goes down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math

from guardian.host import durable, gate, paths
from guardian.model import json_text
from guardian.model.container import Container, is_container_id
from guardian.model.wording import printable

log = logging.getLogger("guardian.cycle")


@dataclasses.dataclass(frozen=True)
class Unsaved:
    """Why a container was left to dockerd, and when it had been started, in dockerd's words."""

    reason: str
    started_at: str


def note(container: Container, reason: str) -> None:
    """Write one down; raises OSError where it can be written nowhere."""
    text = json.dumps({"reason": reason, "started_at": container.started_at})
    try:
        durable.private_folder(paths.UNSAVED)
        durable.write(paths.UNSAVED / container.id, text)
        durable.sync_folder(paths.UNSAVED.parent)
    except OSError:
        durable.private_folder(paths.UNSAVED_RUN)
        durable.write(paths.UNSAVED_RUN / container.id, text)


def noted() -> dict[str, Unsaved]:
    """Those that were written down, by their ids; what does not parse is left out."""
    found = {}
    for folder in (paths.UNSAVED, paths.UNSAVED_RUN):
        for name in filter(is_container_id, gate.names(folder)):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                data = json_text.loads((folder / name).read_text())
                found[name] = Unsaved(printable(str(data["reason"])), str(data["started_at"]))
    return found


def forget(container_id: str, *, before: float = math.inf) -> None:
    """It is known what became of it; only what was written down `before` (wall-clock seconds), if that is given."""
    for folder in (paths.UNSAVED_RUN, paths.UNSAVED):
        place = folder / container_id
        try:
            if place.stat().st_mtime < before:
                place.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("%s: %s", container_id[:12], error)
