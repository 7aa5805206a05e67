"""What is known of the guarded containers when dockerd is dead: facts kept in /run by the worker."""

from __future__ import annotations

import json

from guardian.host import gate, paths
from guardian.model import json_text
from guardian.model.container import Container
from guardian.model.errors import BadInput


def keep(container: Container) -> None:
    """Write down a running container's facts."""
    gate.put(paths.FACTS / container.id, json.dumps(container.to_json()))


def forget(container_id: str) -> None:
    """The container ended or is guarded no more."""
    (paths.FACTS / container_id).unlink(missing_ok=True)


def kept() -> list[Container]:
    """All facts; a file that does not parse is left out, it is one of another version."""
    found = []
    for name in gate.names(paths.FACTS):
        try:
            found.append(Container.from_json(json_text.loads((paths.FACTS / name).read_text())))
        except (OSError, ValueError, BadInput):
            continue
    return found
