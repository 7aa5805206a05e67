"""The regular files outside an image that its processes have open or mapped, and whether one is still what it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from guardian.model.container import Container

FORMAT = 1
LASTING_INODES = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs"))
"""File systems in which the number of a file is the same after a reboot."""
_IN_THE_IMAGE = ("tmpfs", "ramfs")
_ELSEWHERE = frozenset(("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "glusterfs", "autofs"))


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a file lies: below a mount of the container by the destination, in its layer where that is empty.

    `path` is the rest, without a slash in front; bytes as latin-1 text, since names need not be text.
    """

    destination: str
    path: str

    def __post_init__(self) -> None:
        """Raise ValueError for what the kernel never says of an open file."""
        if "\0" in self.path or ".." in self.path.split("/"):
            raise ValueError("a file's path leads nowhere")
        self.path.encode("latin-1")

    def __str__(self) -> str:
        shown = self.path.encode("latin-1", "replace").decode("utf-8", "replace")
        return f"{self.destination}/{shown}" if self.path else self.destination


@dataclasses.dataclass(frozen=True)
class HeldFile:
    """A file as it was. `modified` is in nanoseconds; `inode` is 0 where it does not last, `build_id` may be empty."""

    place: Place
    size: int
    modified: int
    inode: int = 0
    build_id: str = ""


@dataclasses.dataclass(frozen=True)
class Held:
    """All of them. `frozen` is when the container stood still, in nanoseconds of the wall clock.

    `mounted` are the destinations whose source was a mount of its own on the host: where it is none any more, its files
    cannot be looked at before the container is started.
    """

    frozen: int
    mounted: tuple[str, ...]
    files: tuple[HeldFile, ...]
    format: int = FORMAT


def watched(kind: str) -> bool:
    """Whether files of a file system of this kind are looked at: one served by a process or a network may hang."""
    return kind not in _ELSEWHERE and not kind.startswith("fuse")


def place_of(path: str, container: Container, kinds: Mapping[str, str]) -> Place | None:
    """Where a file of the container lies, by the longest mount above it; None where that is no place outside of it.

    `kinds` are its mountpoints with their kinds. Outside are its layer, its volumes and its binds with what is mounted
    below those, but for a tmpfs there: the image has that. The engine's own files
    (/etc/hosts and the like) and a tmpfs that the image holds are not.
    """
    destinations = {mount.destination for mount in container.mounts if mount.kind in ("bind", "volume")}
    above = max((item for item in kinds if _below(path, item)), key=len, default="/")
    if above == "/" and "/" not in destinations:
        return Place("", path.lstrip("/"))
    if kinds.get(above) in _IN_THE_IMAGE and above not in destinations:
        return None
    owner = max((item for item in destinations if _below(above, item)), key=len, default=None)
    return None if owner is None else Place(owner, path[len(owner.rstrip("/")) :].lstrip("/"))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def difference(before: HeldFile, now: HeldFile | None) -> str:
    """How a file is another one than it was; empty where it is the same. Code with the same build id is the same."""
    if now is None:
        return "is gone"
    if now.size != before.size:
        return f"had {before.size} bytes and has {now.size}"
    if before.build_id:
        return "" if now.build_id == before.build_id else "is another build"
    if now.modified != before.modified:
        return "was written to"
    if before.inode and now.inode and now.inode != before.inode:
        return "is another file of the same size and time"
    return ""
