"""Files that frozen processes have open or mapped, as the kernel has them; and the same files later, by host paths.

Later nothing of the container is mounted yet: a file is found below the source of its mount, or in the layer's folders.
No symbolic link is followed: what the kernel says of an open file has none left.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from guardian.host import mountinfo
from guardian.host.layer import LINK_REMAP, Layer
from guardian.model.container import Container
from guardian.model.held_files import LASTING_INODES, HeldFile, Place, place_of, watched

_GONE = (FileNotFoundError, ProcessLookupError)
_DELETED = " (deleted)"
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ (\S+) \S+ (\S+) ([0-9]+) +(/.*)", re.DOTALL)
_OVERLAY = "overlay"
_ELF = struct.Struct("<16sHHIQQQIHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_PT_NOTE, _BUILD_ID = 4, 3
_MOST_HEADERS, _MOST_NOTES = 64, 64 << 10
_NAME = b"GNU\0"


def of_processes(container: Container, init: int, pids: Sequence[int]) -> tuple[HeldFile, ...]:
    """What the frozen processes have open or mapped outside of the container; raises OSError.

    Processes in a mount namespace of their own are left out, and files that have no name any more.
    """
    places = _Places(container, _kinds(init))
    space = os.readlink(f"/proc/{init}/ns/mnt")
    found: dict[Place, HeldFile] = {}
    for pid in pids:
        with contextlib.suppress(*_GONE):
            if os.readlink(f"/proc/{pid}/ns/mnt") != space:
                continue
            for path, way, code in (*_open(pid), *_mapped(pid)):
                place, kind = places.of(path)
                if place is None or not watched(kind) or (place in found and not code):
                    continue
                seen = os.stat(way)
                if stat.S_ISREG(seen.st_mode) and seen.st_nlink:
                    build_id = _build_id_of(way) if code and place.destination else ""
                    found[place] = _held(place, seen, inode=kind in LASTING_INODES, build_id=build_id)
    return tuple(found.values())


class _Places:
    """Where files lie, and on which kind of file system; looked up once for each folder."""

    def __init__(self, container: Container, kinds: Mapping[str, str]) -> None:
        self._container = container
        self._kinds = kinds
        self._folders: dict[str, tuple[Place | None, str]] = {}

    def of(self, path: str) -> tuple[Place | None, str]:
        if path in self._kinds:
            return self._look(path)
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._look(folder or "/")
        place, kind = self._folders[folder]
        if place is None:
            return None, kind
        return Place(place.destination, f"{place.path}/{name}" if place.path else name), kind

    def _look(self, path: str) -> tuple[Place | None, str]:
        above = path
        while above not in self._kinds:
            above = above.rpartition("/")[0] or "/"
        return place_of(path, self._container, self._kinds), self._kinds[above]


def _held(place: Place, seen: os.stat_result, *, inode: bool, build_id: str) -> HeldFile:
    return HeldFile(place, seen.st_size, seen.st_mtime_ns, seen.st_ino if inode else 0, build_id)


def _kinds(pid: int) -> dict[str, str]:
    """The mountpoints that a process sees, with the kind of file system; the last one on a place is what is seen."""
    return {"/": _OVERLAY} | {mount.place: mount.kind for mount in mountinfo.of(pid)}


_Seen = tuple[str, str, bool]
"""A path in the container, one by which the very file is had, and whether it is mapped as code."""


def _open(pid: int) -> Iterator[_Seen]:
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(*_GONE):
            way = f"/proc/{pid}/fd/{entry}"
            link = os.readlink(way)
            if link.startswith("/") and not link.endswith(_DELETED):
                yield link, way, False


def _mapped(pid: int) -> Iterator[_Seen]:
    """One mapping of each file, an executable one where there is one."""
    found: dict[tuple[str, str], _Seen] = {}
    for line in Path(f"/proc/{pid}/maps").read_bytes().decode(errors="surrogateescape").split("\n"):
        match = _MAPPING.fullmatch(line)
        if match is None or match[3] == "0" or match[4].endswith(_DELETED):
            continue
        code = "x" in match[1]
        if code or (match[2], match[3]) not in found:
            way = f"/proc/{pid}/map_files/{_range(line)}"
            found[match[2], match[3]] = (match[4].replace("\\012", "\n"), way, code)
    yield from found.values()


def _range(line: str) -> str:
    """The name of a mapping in map_files: without leading zeros."""
    begin, _, end = line.split(" ", 1)[0].partition("-")
    return f"{int(begin, 16):x}-{int(end, 16):x}"


def _build_id_of(path: str) -> str:
    """The build id of a program or library, in hex; empty where there is none."""
    with Path(path).open("rb", buffering=0) as file:
        return _build_id(file.fileno())


def _build_id(descriptor: int) -> str:
    """The file may be any: what its headers say of places is looked at only within it."""
    size_of_file = os.fstat(descriptor).st_size
    head = os.pread(descriptor, _ELF.size, 0)
    if len(head) < _ELF.size or head[:6] != b"\x7fELF\x02\x01":
        return ""
    at, size, count = (_ELF.unpack(head)[place] for place in (5, 9, 10))
    if size != _PROGRAM.size or at >= size_of_file:
        return ""
    table = os.pread(descriptor, size * min(count, _MOST_HEADERS), at)
    for kind, _, offset, _, _, length, _, _ in _PROGRAM.iter_unpack(table[: len(table) // size * size]):
        if kind == _PT_NOTE and offset < size_of_file:
            found = _in_notes(os.pread(descriptor, min(length, _MOST_NOTES), offset))
            if found:
                return found
    return ""


def _in_notes(notes: bytes) -> str:
    """The build id among notes (elf(5)): sizes of name and content, type, then both, each filled up to four bytes."""
    at = 0
    while at + 12 <= len(notes):
        name, size, kind = struct.unpack_from("<III", notes, at)
        begin = at + 12 + (name + 3) // 4 * 4
        if kind == _BUILD_ID and notes[at + 12 : at + 12 + name] == _NAME:
            return notes[begin : begin + size].hex()
        at = begin + (size + 3) // 4 * 4
    return ""


def mountpoints() -> frozenset[str]:
    """Every mountpoint of the host."""
    return frozenset(_kinds(os.getpid()))


def now(before: HeldFile, sources: Mapping[str, str], layer: Layer | None) -> HeldFile | None:
    """The file at the same place as it is now; None where there is none. Raises OSError."""
    place = before.place
    if place.destination:
        folders = [Path(sources[place.destination])] if place.destination in sources else []
    else:
        folders = [layer.upper, *layer.lower] if layer is not None else []
    for folder in folders:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), _opened(folder, place.path) as found:
            seen = os.fstat(found)
            if stat.S_ISCHR(seen.st_mode) and not seen.st_rdev:
                return None  # a whiteout: deleted in the layer
            if not stat.S_ISREG(seen.st_mode):
                return None
            build_id = _build_id_of(f"/proc/self/fd/{found}") if before.build_id else ""
            return _held(place, seen, inode=bool(before.inode), build_id=build_id)
    return None


@contextlib.contextmanager
def _opened(folder: Path, path: str) -> Iterator[int]:
    """A descriptor of a file below a folder, without following a link in any part of its path."""
    flags = os.O_PATH | os.O_CLOEXEC
    current = os.open(folder, flags)
    try:
        for part in path.encode("latin-1").split(b"/") if path else ():
            following = os.open(part, flags | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = following
        yield current
    finally:
        os.close(current)


def written_after(folder: Path, moment: int, *, most: int) -> str:
    """A file below a folder whose content or metadata changed after a moment (nanoseconds), or that was put there.

    Its path, or empty where there is none. A folder that CRIU has put a name of its own into does not count. Raises
    OSError, and TooMany beyond so many files.
    """
    left = most
    for root, folders, files in os.walk(folder, followlinks=False):
        left -= len(folders) + len(files)
        if left < 0:
            raise TooMany
        names = [name for name in (*folders, *files) if not name.startswith(LINK_REMAP)]
        own = len(names) < len(folders) + len(files)
        for path in (Path(root), *(Path(root) / name for name in names)):
            if (path != Path(root) or not own) and path.lstat().st_ctime_ns > moment:
                return str(path)
    return ""


class TooMany(Exception):
    """There are more files than are looked at."""
