"""Room in the store."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import facts, space
from guardian.model.errors import StoreError
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_CURE = "guardianctl remove old checkpoints, enlarge the file system, or lower [store] reserve"


def look(host: Host) -> Iterator[Finding]:
    """Whether there is room for anything, and for all guarded containers that run, as big as they are now."""
    room = space.Room(host.config, host.ledger)
    try:
        room.check()
    except StoreError as error:
        yield Finding("disk", Severity.ERROR, str(error), "nothing can be saved", _CURE)
        return
    for container in facts.kept():
        try:
            room.take(container.id)
        except StoreError as error:
            yield Finding(
                "disk",
                Severity.WARNING,
                f"{container.name}: {error}",
                "not all containers that run could be saved together",
                _CURE,
            )
            return
