"""Who is saved first when time is short."""

from __future__ import annotations

from guardian.model.graph import Member


def worth(member: Member, size: int) -> tuple[int, int, int]:
    """Lower goes first: the label `guardian.priority`, then those that keep nothing on disk, then the smaller ones.

    What has a volume or a bind to write to can begin again from there; the rest has its memory alone. Of equals, many
    small ones come before a large one. `size` is in bytes.
    """
    on_disk = any(mount.writable and mount.kind in ("bind", "volume") for mount in member.container.mounts)
    return -member.policy.priority, int(on_disk), size
