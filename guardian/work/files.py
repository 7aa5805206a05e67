"""The files that a checkpoint keeps: the writable layer, tmpfs mounts, /dev/shm, and files deleted but open."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from guardian.host import layer, tar_reader, tree
from guardian.host.checkpoint import Checkpoint
from guardian.host.images import files as images
from guardian.host.images import ghosts
from guardian.host.images.folder import Folder, open_image
from guardian.host.layer import Layer
from guardian.host.tar_reader import Member
from guardian.host.tree import Node
from guardian.model.errors import BadInput, GuardianError
from guardian.model.states import Purpose
from guardian.work import content

DELETED = " (deleted)"
"""Behind the path of a file that has no name any more."""
_MOST_TMPFS = 256 << 30
_SHM = "/dev/shm"  # noqa: S108
_CHUNK = 1 << 16
_MASKS = ("/proc/", "/sys/")


@dataclasses.dataclass(frozen=True)
class Found:
    """A file of the container. `path` is its own, absolute; `mode` with its kind; `modified` in wall-clock seconds.

    `source` is `layer`, `tmpfs`, `shm` or `deleted`; `target` where a link leads to; `device` major and minor number.
    """

    source: str
    path: str
    mode: int
    uid: int
    gid: int
    size: int
    modified: float
    target: str = ""
    device: tuple[int, int] = (0, 0)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; docs/files-and-archives.md has its keys."""
        return {
            **dataclasses.asdict(self),
            "mode": stat.filemode(self.mode),
            "permissions": f"{stat.S_IMODE(self.mode):04o}",
            "device": list(self.device),
        }

    def is_below(self, path: str) -> bool:
        """Whether it is this file, or in this folder."""
        wanted = "/" + path.strip("/")
        own = self.path.removesuffix(DELETED) if self.source == "deleted" else self.path
        return wanted in ("/", self.path, own) or own.startswith(f"{wanted}/")


@dataclasses.dataclass(frozen=True)
class File:
    """A file and its content, which can be had once and only until the next file is asked for."""

    found: Found
    chunks: Callable[[], Iterator[bytes]]


def files(checkpoint: Checkpoint) -> Iterator[File]:
    """All that is kept; raises GuardianError. What the layer was is left out where `layer_problem` says why."""
    if not layer_problem(checkpoint):
        yield from _layer(checkpoint)
    folder = Folder(checkpoint.folder / "img")
    seen: set[Path] = set()
    for target, image in images.tmpfs(folder):
        if image not in seen and not target.startswith(_MASKS):
            seen.add(image)
            yield from _tmpfs(target, image)
    for path, image_name in images.ghosts(folder):
        yield _ghost(folder, path, image_name)


def layer_problem(checkpoint: Checkpoint) -> str:
    """Why the writable layer as it was cannot be had; empty where it can."""
    if (checkpoint.folder / layer.DIFF).exists():
        return ""
    if checkpoint.purpose() is Purpose.SNAPSHOT:
        return next(
            (text for text in checkpoint.remarks() if text.startswith(content.NOT_KEPT)), "it was not kept"
        )
    if not checkpoint.restorable():
        return "the container has run since, its layer is not as it was"
    found = content.layer_of(checkpoint)
    if found is None:
        return "its root is no overlay"
    return "" if found.upper.is_dir() else "the container was removed, and its layer with it"


def layer_size(checkpoint: Checkpoint) -> int:
    """Bytes of the archive of the writable layer, as an export has it; -1 where the layer cannot be had."""
    try:
        kept = checkpoint.folder / layer.DIFF
        if kept.exists():
            return kept.stat().st_size
        found = None if layer_problem(checkpoint) else content.layer_of(checkpoint)
        return -1 if found is None else layer.write(found, None)[0]
    except (GuardianError, OSError):
        return -1


def _layer(checkpoint: Checkpoint) -> Iterator[File]:
    kept = checkpoint.folder / layer.DIFF
    if kept.exists():
        with open_image(kept) as file:
            for member in tar_reader.members(file):
                if member.path and not _is_remap(member.path):
                    yield _member("layer", "", member)
        return
    where = content.layer_of(checkpoint)
    assert isinstance(where, Layer)
    for node in layer.nodes(where, layer.Deleted()):
        if not _is_remap(node.path) and not stat.S_ISSOCK(node.stat.st_mode):
            yield File(_of_node(node), lambda node=node: _read(node))  # type: ignore[misc]


def _is_remap(path: str) -> bool:
    return path.rpartition("/")[2].startswith(layer.LINK_REMAP)


def _of_node(node: Node) -> Found:
    seen = node.stat
    is_device = stat.S_ISCHR(seen.st_mode) or stat.S_ISBLK(seen.st_mode)
    return Found(
        source="layer",
        path=f"/{node.path}",
        mode=seen.st_mode,
        uid=seen.st_uid,
        gid=seen.st_gid,
        size=seen.st_size if stat.S_ISREG(seen.st_mode) else 0,
        modified=seen.st_mtime,
        target=node.target() if stat.S_ISLNK(seen.st_mode) else "",
        device=(os.major(seen.st_rdev), os.minor(seen.st_rdev)) if is_device else (0, 0),
    )


def _read(node: Node) -> Iterator[bytes]:
    if not stat.S_ISREG(node.stat.st_mode):
        return
    with os.fdopen(node.open(), "rb", buffering=0) as file:
        left = node.stat.st_size
        while left:
            data = file.read(min(_CHUNK, left))
            if not data:
                raise tree.TreeError(f"{node.path!r} changed while it was read", "it became shorter")
            left -= len(data)
            yield data


def _tmpfs(target: str, image: Path) -> Iterator[File]:
    source = "shm" if target == _SHM else "tmpfs"
    with open_image(image) as raw, gzip.GzipFile(fileobj=raw) as stream:
        for member in tar_reader.members(stream, most=_MOST_TMPFS):
            # The engine's own: devices, links to /proc and the places of other mounts.
            if member.path and (target != "/dev" or member.info.isreg()):
                yield _member(source, target.rstrip("/"), member)


_KINDS = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
}


def _member(source: str, below: str, member: Member) -> File:
    info = member.info
    found = Found(
        source=source,
        path=f"{below}/{member.path}",
        mode=_KINDS.get(info.type, stat.S_IFREG) | (info.mode & 0o7777),
        uid=info.uid,
        gid=info.gid,
        size=info.size if info.isreg() else 0,
        modified=float(info.mtime),
        # A hard link names its first name within the archive.
        target=f"{below}/{tar_reader.inside(info.linkname)}" if info.islnk() else info.linkname,
        device=(info.devmajor, info.devminor) if info.ischr() or info.isblk() else (0, 0),
    )
    return File(found, member.chunks)


def _ghost(folder: Folder, path: str, image: str) -> File:
    ghost = ghosts.read(folder, image)
    found = Found(
        "deleted", path + DELETED, ghost.mode, ghost.uid, ghost.gid, ghost.size, ghost.modified, ghost.target
    )
    return File(found, ghost.chunks if stat.S_ISREG(ghost.mode) else lambda: iter(()))


def listed(checkpoint: Checkpoint, path: str) -> Iterator[File]:
    """The files that are `path` or below it."""
    return (file for file in files(checkpoint) if file.found.is_below(path))


def take(checkpoint: Checkpoint, path: str, write: tree.Write) -> Found:
    """Write the content of one file; raises BadInput where there is none of this path.

    A deleted one may be named with its suffix or without, where no other file has its name. Of hard links the first
    has the content.
    """
    wanted, names = "/" + path.strip("/"), {path}
    for _ in range(2):
        for file in files(checkpoint):
            found = file.found
            if found.path != wanted and not (found.source == "deleted" and found.path == wanted + DELETED):
                continue
            if not stat.S_ISREG(found.mode):
                raise BadInput(f"{path!r} is no file with content", stat.filemode(found.mode))
            if found.target and found.target not in names:
                wanted, names = found.target, {*names, found.target}
                break
            for data in file.chunks():
                write(data)
            return found
        else:
            break
    raise BadInput(
        f"{path!r} is not in the checkpoint", layer_problem(checkpoint), hint="guardianctl files lists them"
    )


def to_tar(checkpoint: Checkpoint, path: str, write: tree.Write) -> int:
    """Write files as a tar archive with the container's paths, relative to its root; returns how many."""
    count = 0
    for file in listed(checkpoint, path):
        info = _info(file.found)
        write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        if info.type == tarfile.REGTYPE:
            left = info.size
            for data in file.chunks():
                left -= len(data)
                write(data)
            if left:
                raise GuardianError(f"{file.found.path!r} is not as long as was said")
            write(bytes(-info.size % tree.BLOCK))
        count += 1
    write(tree.END)
    return count


def _info(found: Found) -> tarfile.TarInfo:
    info = tarfile.TarInfo(tar_reader.inside(found.path.lstrip("/")))
    kinds = {kind: type_ for type_, kind in _KINDS.items()}
    info.type = kinds.get(stat.S_IFMT(found.mode), tarfile.REGTYPE)
    info.mode, info.uid, info.gid = stat.S_IMODE(found.mode), found.uid, found.gid
    info.pax_headers = {"mtime": f"{found.modified:.6f}"}
    info.linkname = found.target
    if info.type == tarfile.REGTYPE:
        info.size = found.size
        if found.target:
            info.type, info.linkname, info.size = tarfile.LNKTYPE, found.target.lstrip("/"), 0
    with contextlib.suppress(ValueError):
        info.devmajor, info.devminor = found.device
    return info
