"""A command inside a container, by runc itself: dockerd may be gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guardian.host import runc
from guardian.host.command import CommandFailed, Finished, run_strange


def inside(
    container_id: str, argv: Sequence[str], environment: Mapping[str, str], *, limit: float, most: int
) -> Finished:
    """Run a command as the container's own user, in its folder, with its environment and these variables.

    Raises CommandFailed where it cannot be run or takes longer than `limit` seconds; what it has left in the container
    then lives on. `most` bytes of its output are kept.
    """
    known = runc.state(container_id)
    if known is None:
        raise CommandFailed("no command can be run in the container", "it does not run")
    told = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
    return run_strange(
        [runc.binary(), "--root", str(known.root), "exec", *told, container_id, *argv], limit=limit, most=most
    )
