"""A folder as a tar archive, streamed: metadata as it is, links as links, holes as holes, no link followed.

Its length can be had beforehand by a walk that reads no content. The format is pax; holes are written as GNU tar's
sparse format 1.0, extended attributes as SCHILY.xattr (what GNU tar, Go and Docker read).

A folder that is in use meanwhile is walked and written with `moving`: what goes away is left out (tree_delta.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from guardian.model.errors import GuardianError

BLOCK = 512
CHUNK = 1 << 20
END = bytes(2 * BLOCK)
"""How a tar archive ends."""
_DEEPEST = 256
"""Folders below each other; each costs a descriptor while the walk is in it."""
_MOST_SEGMENTS = 20000
_HIDDEN_XATTRS = ("trusted.overlay.", "user.overlay.")
_XATTR = "SCHILY.xattr."
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
"""What the kernel says of a name that is no longer what it was found to be."""

Write = Callable[[bytes], object]
_Name = TypeVar("_Name", int, str)
_Found = TypeVar("_Found")


class TreeError(GuardianError):
    """A folder that cannot be kept as it is, or that changed while it was read."""


class Vanished(TreeError):
    """A file that went away, or made room for another, after the walk saw it."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One file of a folder: its path below it, and the open folder that it is in under its own name."""

    path: str
    stat: os.stat_result
    folder: int
    name: str

    @property
    def whiteout(self) -> bool:
        """Whether it says in an overlay's layer that a file below is deleted."""
        return stat.S_ISCHR(self.stat.st_mode) and self.stat.st_rdev == 0

    @property
    def several(self) -> bool:
        """Whether it is a file that has other names."""
        return self.stat.st_nlink > 1 and not stat.S_ISDIR(self.stat.st_mode)

    @functools.cached_property
    def xattrs(self) -> dict[str, bytes]:
        """Its extended attributes, those of overlayfs too."""
        place = f"/proc/self/fd/{self.folder}/{self.name}"
        with contextlib.suppress(OSError):  # a file system without any
            return {
                name: os.getxattr(place, name, follow_symlinks=False)
                for name in os.listxattr(place, follow_symlinks=False)
            }
        return {}

    def open(self) -> int:
        """A descriptor of its content; raises Vanished where it is no longer there, and TreeError."""
        try:
            descriptor = os.open(
                self.name,
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                dir_fd=self.folder,
            )
        except OSError as error:
            raise self._unread(error) from error
        if self._differs(os.fstat(descriptor)):
            os.close(descriptor)
            raise Vanished(f"{self.path!r} changed while it was read")
        return descriptor

    def target(self) -> str:
        """Where a symbolic link leads to; raises as `open` does."""
        try:
            return os.readlink(self.name, dir_fd=self.folder)
        except OSError as error:
            raise self._unread(error) from error

    def _differs(self, other: os.stat_result) -> bool:
        """Whether it is another file; of another kind is one that was given the inode of this one."""
        here, there = ((seen.st_dev, seen.st_ino, stat.S_IFMT(seen.st_mode)) for seen in (self.stat, other))
        return here != there

    def _unread(self, error: OSError) -> TreeError:
        """An error as what it means: whether the file is at fault or is not there."""
        try:
            gone = self._differs(os.stat(self.name, dir_fd=self.folder, follow_symlinks=False))
        except OSError as other:
            gone = other.errno in _GONE
        return (Vanished if gone else TreeError)(f"{self.path!r} cannot be read", error.strerror or "")


def walk(root: str | os.PathLike[str], *, moving: bool = False) -> Iterator[Node]:
    """Each file below a folder, folders before what is in them, by name; raises TreeError.

    A node's folder is open only until the next one is asked for. `moving`: what goes away meanwhile is no error.
    """
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise TreeError("a folder cannot be read", str(error)) from error
    try:
        yield from _below(descriptor, "", 0, moving)
    except OSError as error:
        raise TreeError("a folder changed while it was read", str(error)) from error
    finally:
        os.close(descriptor)


def _below(folder: int, above: str, depth: int, moving: bool) -> Iterator[Node]:
    if depth > _DEEPEST:
        raise TreeError(f"{above!r:.200} lies too deep", f"more than {_DEEPEST} folders")
    # A name that is renamed away and back meanwhile may be listed twice.
    for name in sorted(set(_there(moving, os.listdir, folder) or ())):
        seen = _there(moving, functools.partial(os.stat, dir_fd=folder, follow_symlinks=False), name)
        if seen is None:
            continue
        path = f"{above}/{name}" if above else name
        yield Node(path, seen, folder, name)
        if stat.S_ISDIR(seen.st_mode):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = _there(moving, functools.partial(os.open, flags=flags, dir_fd=folder), name)
            if inner is None:
                continue
            try:
                yield from _below(inner, path, depth + 1, moving)
            finally:
                os.close(inner)


def _there(moving: bool, call: Callable[[_Name], _Found], of: _Name) -> _Found | None:
    """What a call gives, None where its object went away from a tree that is moving."""
    try:
        return call(of)
    except OSError as error:
        if moving and error.errno in _GONE:
            return None
        raise


class Tar:
    """Writes nodes as members of an archive; without `write` it only counts its length.

    `moving`: content that became shorter than it was seen to be is filled up with zeros, instead of an error.
    """

    def __init__(self, write: Write | None, *, moving: bool = False) -> None:
        self.length = 0
        self._write = write
        self._moving = moving
        self._links: dict[tuple[int, int], str] = {}

    def add(self, node: Node) -> None:
        """Write one node, further names of a file as links to its first; sockets are left out."""
        first = node.path
        if node.several:
            first = self._links.setdefault((node.stat.st_dev, node.stat.st_ino), node.path)
        self.put(node, first if first != node.path else "")

    def put(self, node: Node, link: str = "") -> bool:
        """Write one node, as a link to another name where there is one; False where zeros were filled in.

        Raises Vanished with nothing written.
        """
        info = header(node)
        if info is None:
            return True
        if link:
            info.type, info.linkname, info.size = tarfile.LNKTYPE, link, 0
        if info.type != tarfile.REGTYPE or not info.size:
            self._put(_coded(info))
            return True
        descriptor = node.open()
        try:
            return self._add_content(info, descriptor, node)
        finally:
            os.close(descriptor)

    def finish(self) -> int:
        """End the archive; returns its length."""
        self._put(END)
        return self.length

    def _put(self, data: bytes) -> None:
        self.length += len(data)
        if self._write is not None:
            self._write(data)

    def _add_content(self, info: tarfile.TarInfo, descriptor: int, node: Node) -> bool:
        size = node.stat.st_size
        segments = [(0, size)]
        sparse = node.stat.st_blocks * BLOCK < size
        if sparse:
            segments = _segments(descriptor, size)
            sparse = segments != [(0, size)]
        place = _map(segments) if sparse else b""
        info.size = len(place) + sum(length for _, length in segments)
        if sparse:
            info.pax_headers = {
                **info.pax_headers,
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": info.name,
                "GNU.sparse.realsize": str(size),
            }
            info.name = f"GNUSparseFile.0/{node.name[:80]}"
        self._put(_coded(info))
        self._put(place)
        whole = True
        for offset, length in segments:
            whole &= self._copy(descriptor, offset, length, node.path)
        self._put(bytes(-info.size % BLOCK))
        return whole

    def _copy(self, descriptor: int, offset: int, length: int, path: str) -> bool:
        if self._write is None:
            self.length += length
            return True
        whole = True
        while length:
            data = os.pread(descriptor, min(length, CHUNK), offset)
            if not data:
                if not self._moving:
                    raise TreeError(f"{path!r} changed while it was read", "it became shorter")
                whole, data = False, bytes(min(length, CHUNK))
            self._put(data)
            offset += len(data)
            length -= len(data)
        return whole


def header(node: Node) -> tarfile.TarInfo | None:
    """What an archive says of a node, None for a socket."""
    seen = node.stat
    kinds: Mapping[int, bytes] = {
        stat.S_IFREG: tarfile.REGTYPE,
        stat.S_IFDIR: tarfile.DIRTYPE,
        stat.S_IFLNK: tarfile.SYMTYPE,
        stat.S_IFIFO: tarfile.FIFOTYPE,
        stat.S_IFCHR: tarfile.CHRTYPE,
        stat.S_IFBLK: tarfile.BLKTYPE,
    }
    kind = kinds.get(stat.S_IFMT(seen.st_mode))
    if kind is None:
        return None
    info = tarfile.TarInfo(node.path)
    info.type, info.mode = kind, stat.S_IMODE(seen.st_mode)
    info.uid, info.gid = seen.st_uid, seen.st_gid
    info.size = seen.st_size if kind == tarfile.REGTYPE else 0
    info.linkname = node.target() if kind == tarfile.SYMTYPE else ""
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = os.major(seen.st_rdev), os.minor(seen.st_rdev)
    # Not the access time: reading the file changes it, and with it the length of what was counted.
    info.pax_headers = {"mtime": _time(seen.st_mtime_ns)}
    for name, value in node.xattrs.items():
        if not name.startswith(_HIDDEN_XATTRS):
            info.pax_headers[_XATTR + name] = value.decode("utf-8", "surrogateescape")
    return info


def xattrs_of(info: tarfile.TarInfo) -> dict[str, bytes]:
    """The extended attributes that a member of an archive asks for."""
    return {
        key.removeprefix(_XATTR): value.encode("utf-8", "surrogateescape")
        for key, value in info.pax_headers.items()
        if key.startswith(_XATTR)
    }


def _time(nanoseconds: int) -> str:
    sign = "-" if nanoseconds < 0 else ""
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{seconds}.{rest:09d}"


def _coded(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _segments(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Where a file has data, as offset and length; a last empty one where it ends in a hole."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < size and len(found) < _MOST_SEGMENTS:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
            end = min(os.lseek(descriptor, begin, os.SEEK_HOLE), size)
        except OSError:  # ENXIO: nothing but a hole from here on
            break
        if begin >= end:  # it has grown meanwhile: what lies behind its size as it was seen
            break
        found.append((begin, end - begin))
        at = end
    else:
        if at < size:  # too torn for a map: the rest as it reads
            found.append((at, size - at))
            at = size
    return [*found, (size, 0)] if at < size or not found else found


def _map(segments: list[tuple[int, int]]) -> bytes:
    """The map of GNU tar's sparse format 1.0: the number of segments, then offset and length of each."""
    numbers = [len(segments), *(number for segment in segments for number in segment)]
    text = "".join(f"{number}\n" for number in numbers).encode()
    return text + bytes(-len(text) % BLOCK)


def write(root: str | os.PathLike[str], to: Write | None) -> int:
    """Write a folder's archive, or (None) only count; returns its length. Raises TreeError."""
    tar = Tar(to)
    for node in walk(root):
        tar.add(node)
    return tar.finish()
