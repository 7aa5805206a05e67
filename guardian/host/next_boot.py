"""What the next boot is to start cold: marks that /bin/sh reads before dockerd is there (runtime/hold.sh).

A mark has the id of the boot in which it was made, and is for any other one: docker may be started again before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from guardian.host import durable, gate, paths, proc
from guardian.model.states import FORMAT

ALL = "all"
REASON = "guardianctl next-boot cold asked for it"


def set_cold(names: Collection[str]) -> None:
    """Have containers (by id, or ALL) start cold at the next boot; raises OSError."""
    durable.private_folder(paths.NEXT_BOOT)
    durable.sync_folder(paths.NEXT_BOOT.parent)
    for name in names:
        durable.write(paths.NEXT_BOOT / name, f"format={FORMAT}\nboot={proc.boot_id()}\n")


def forget(names: Collection[str]) -> None:
    """Take marks back: all of them, for ALL; raises OSError."""
    for name in gate.names(paths.NEXT_BOOT) if ALL in names else names:
        (paths.NEXT_BOOT / name).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        durable.sync_folder(paths.NEXT_BOOT)


def is_cold(container_id: str) -> bool:
    """Whether a container is to start cold at the next boot."""
    return bool({ALL, container_id} & set(gate.names(paths.NEXT_BOOT)))
