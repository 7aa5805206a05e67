"""A container's writable layer, an overlay's upper folder: where it is, and what it holds as an archive.

`rootfs-diff.tar` and `deleted.files` are podman's names: first the archive is unpacked over the image, then what the
list (JSON, paths without a leading slash) names is removed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from guardian.host import durable, mountinfo, tree
from guardian.host.tree import Node, TreeError
from guardian.model import json_text
from guardian.model.container import Container

DIFF = "rootfs-diff.tar"
DELETED = "deleted.files"
PLACE = "layer"
"""In a checkpoint's folder: where the layer was."""
LINK_REMAP = "link_remap."
"""How CRIU (files-reg.c) begins the names it gives to open files that were removed and have other links."""
MOST = 1 << 30
"""Bytes of a layer that is copied while its container stands still."""
_MOST_DELETED = 1_000_000
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_ELSEWHERE = ("redirect", "metacopy")


@dataclasses.dataclass(frozen=True)
class Layer:
    """The upper folder of an overlay and the folders below it, the nearest first."""

    upper: Path
    lower: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, object]:
        """A plain dictionary that `from_json` takes back."""
        return {"upper": str(self.upper), "lower": [str(path) for path in self.lower]}

    @classmethod
    def from_json(cls, data: object) -> Layer | None:
        """None for anything `to_json` would not have written."""
        if not isinstance(data, dict) or not isinstance(data.get("upper"), str):
            return None
        lower = data.get("lower")
        if not isinstance(lower, list) or not all(isinstance(item, str) for item in lower):
            return None
        return cls(Path(data["upper"]), tuple(Path(item) for item in lower))


def parse(options: str, known: str = "") -> Layer | None:
    """The layer in the options of an overlay's mount; `known` is Docker's own word for the upper folder.

    A path may be relative to the folder that holds all layers (moby's overlay2 mounts so when the options get long).
    """
    upper, lower = known, list[str]()
    for option in re.split(r"(?<!\\),", options):
        key, _, value = option.partition("=")
        if key == "upperdir":
            upper = upper or _plain(value)
        elif key == "lowerdir":
            lower += [_plain(item) for item in re.split(r"(?<!\\):", value)]
        elif key == "lowerdir+":
            lower.append(_plain(value))
    above = Path(upper).parents
    if not upper.startswith("/") or not above:
        return None
    base = above[1] if len(above) > 1 else above[0]
    return Layer(Path(upper), tuple(base / item for item in lower if item))


def _plain(value: str) -> str:
    return re.sub(r"\\([,:\\])", r"\1", value)


def of_process(pid: int, known: str) -> Layer | None:
    """The layer under a running process's root; None where that is no overlay."""
    try:
        mounts = mountinfo.of(pid)
    except OSError:
        return None
    found = next((mount for mount in mounts if mount.place == "/" and mount.kind == "overlay"), None)
    return None if found is None else parse(found.options, known)


def note(folder: Path, pid: int, container: Container) -> None:
    """Write down in a checkpoint's folder where the layer is. What cannot be had is found again in the images."""
    found = of_process(pid, container.layer)
    if found is not None:
        with open(folder / PLACE, "w", opener=durable.owner_only) as file:
            file.write(json.dumps(found.to_json()) + "\n")


def noted(folder: Path) -> Layer | None:
    """What `note` has kept."""
    try:
        return Layer.from_json(json_text.loads((folder / PLACE).read_text()))
    except (OSError, ValueError):
        return None


def nodes(layer: Layer, gone: Callable[[str], None], *, moving: bool = False) -> Iterator[Node]:
    """The files of a layer, without whiteouts; `gone` is told the path of each file of the image that is deleted.

    Raises TreeError where the layer does not stand for itself (redirected folders, content left in a layer below).
    `moving`: as in `tree.walk`; what `gone` is told is then no more than what was seen.
    """
    for node in tree.walk(layer.upper, moving=moving):
        if node.whiteout:
            gone(node.path)
            continue
        if stat.S_ISDIR(node.stat.st_mode) or stat.S_ISREG(node.stat.st_mode):
            names = node.xattrs
            for kind in _ELSEWHERE:
                if {f"trusted.overlay.{kind}", f"user.overlay.{kind}"} & names.keys():
                    raise TreeError(f"{node.path!r} lies partly in another layer", f"overlay {kind}")
            if any(names.get(name) in (b"y", b"x") for name in _OPAQUE) and stat.S_ISDIR(node.stat.st_mode):
                for path in _hidden(layer, node.path, 0):
                    gone(path)
        yield node


def _hidden(layer: Layer, path: str, depth: int) -> Iterator[str]:
    """What the image has below an opaque folder and the layer does not."""
    own, below = layer.upper / path, set[str]()
    for folder in layer.lower:
        below.update(_names(folder, path))
    for name in sorted(below):
        inner = f"{path}/{name}"
        if not os.path.lexists(own / name):
            yield inner
        elif (own / name).is_dir() and not (own / name).is_symlink() and depth < 256:
            yield from _hidden(layer, inner, depth + 1)


def _names(root: Path, path: str) -> list[str]:
    """What is in a folder below `root`; nothing where a link is on the way, which may lead anywhere."""
    try:
        descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in path.split("/"):
            above = descriptor
            try:
                descriptor = os.open(
                    part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above
                )
            finally:
                os.close(above)
    except OSError:
        return []
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


class Deleted:
    """Collects the paths of deleted files; raises TreeError where they are too many."""

    def __init__(self) -> None:
        self._paths: set[str] = set()

    def __call__(self, path: str) -> None:
        """One more."""
        if len(self._paths) >= _MOST_DELETED:
            raise TreeError("too many deleted files", f"more than {_MOST_DELETED}")
        self._paths.add(path)

    def coded(self) -> bytes:
        """`deleted.files`."""
        return json.dumps(sorted(self._paths)).encode() + b"\n"


def write(layer: Layer, to: tree.Write | None) -> tuple[int, bytes]:
    """Write `rootfs-diff.tar`, or (None) only count; returns its length, and `deleted.files`. Raises TreeError."""
    tar, deleted = tree.Tar(to), Deleted()
    for node in nodes(layer, deleted):
        tar.add(node)
    return tar.finish(), deleted.coded()


def check_size(layer: Layer, folder: Path, *, most: int = MOST) -> None:
    """Raise TreeError where a layer is larger than `most` bytes or half of what the folder's disk has left."""
    room = os.statvfs(folder)
    most = min(most, room.f_bavail * room.f_frsize // 2)
    length = 0
    for node in tree.walk(layer.upper):
        length += node.stat.st_blocks * tree.BLOCK
        if length > most:
            raise TreeError("the writable layer is too large to be copied", f"over {most >> 20} MiB")


def keep(layer: Layer, folder: Path, *, most: int = MOST) -> None:
    """Copy a layer into a checkpoint's folder, not yet durable; raises TreeError with nothing left there.

    `most` is looked at again: it may have grown since `check_size`, which is for the time before the freeze.
    """
    length = 0
    try:
        with open(folder / DIFF, "xb", buffering=tree.CHUNK, opener=_private) as file:

            def bounded(data: bytes) -> None:
                nonlocal length
                length += len(data)
                if length > most + most // 8:  # headers
                    raise TreeError("the writable layer is too large to be copied", f"over {most >> 20} MiB")
                file.write(data)

            _, deleted = write(layer, bounded)
        with open(folder / DELETED, "wb", opener=durable.owner_only) as listed:
            listed.write(deleted)
    except (OSError, TreeError) as error:
        for name in (DIFF, DELETED):
            (folder / name).unlink(missing_ok=True)
        if isinstance(error, TreeError):
            raise
        raise TreeError("the writable layer cannot be copied", str(error)) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
