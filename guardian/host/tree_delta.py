"""A folder in two archives: all of it while it is in use, then, while it stands still, what has changed since.

Whether a file has changed is told by its inode and its change time, which nobody can set. That time says nothing where

- a change came too soon after the one before, within the grain of the file system's clock, or is still under way (the
  kernel sets the time when a write begins): what changed shortly before the first pass, or during it, is sent again;
- a process writes through a shared mapping: only the first write to a page is noticed. See `dirty_files`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from guardian.host import tree
from guardian.host.tree import Node, TreeError, Vanished, Write

UNSURE = 2 * 10**9
"""Nanoseconds before the first pass, and after the present, in which a change time proves nothing.

More than the grain of any clock (FAT: 2 s; old ext4: 1 s; else a tick), and than a write(2) should take.
"""
_STAMP = 16
_HEADERS = 3 * tree.BLOCK
"""What a member costs beside its content: its header, and one in front for its time."""

Key = tuple[int, int]
"""A file's `st_dev` and `st_ino`."""


class Seen:
    """What the first pass has sent: a stamp for each path, packed, some 250 bytes in all for a path of 60."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._stamps = bytearray()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, path: str, stamp: bytes) -> None:
        """A path and its stamp, or only the first byte of it (the kind) where it is to be sent again."""
        self._rows[path] = len(self._rows)
        self._stamps += stamp.ljust(_STAMP, b"\0")

    def row(self, path: str) -> int | None:
        """The number of a path, in the order of sending."""
        return self._rows.get(path)

    def stamp(self, row: int) -> bytes:
        """What `add` was given for it."""
        return bytes(self._stamps[row * _STAMP : (row + 1) * _STAMP])

    def without(self, rows: bytearray) -> Iterator[str]:
        """The paths whose byte in `rows` is 0."""
        return (path for path, row in self._rows.items() if not rows[row])


def _stamp(seen: os.stat_result) -> bytes:
    """The kind of a file, and a digest of all that changes when it does."""
    facts = (
        *(seen.st_ino, seen.st_dev, seen.st_rdev, seen.st_mode, seen.st_uid, seen.st_gid),
        *(seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns),
    )
    return _kind(seen) + hashlib.blake2b(repr(facts).encode(), digest_size=_STAMP - 1).digest()


def _kind(seen: os.stat_result) -> bytes:
    return bytes((stat.S_IFMT(seen.st_mode) >> 12,))


def _key(seen: os.stat_result) -> Key:
    return seen.st_dev, seen.st_ino


def first(nodes: Iterable[Node], write: Write) -> Seen:
    """Write an archive of a tree that changes while it is read (a walk that is `moving`); returns what was sent.

    What vanishes is left out, what shrinks is filled up with zeros, what grows is cut: the second pass puts it right.
    How much there is to read is up to who writes to the tree; `write` may raise to end it.
    Raises TreeError and OSError.
    """
    out, seen = tree.Tar(write, moving=True), Seen()
    # By stamp, not by inode alone: the number of a removed file is soon another one's.
    links: dict[Key, tuple[bytes, str]] = {}
    begun = time.time_ns()
    for node in nodes:
        if stat.S_ISSOCK(node.stat.st_mode):
            continue
        now = time.time_ns()
        unsure = min(begun, now) - UNSURE <= node.stat.st_ctime_ns <= max(begun, now) + UNSURE
        stamp, link = _stamp(node.stat), ""
        if node.several:
            known = links.get(_key(node.stat))
            link = known[1] if known is not None and known[0] == stamp else ""
        try:
            whole = out.put(node, link)
        except Vanished:
            continue
        if node.several and not link:
            links[_key(node.stat)] = stamp, node.path
        seen.add(node.path, stamp[:1] if unsure or not whole else stamp)
    out.finish()
    return seen


def second(
    nodes: Iterable[Node], seen: Seen, write: Write | None, *, dirty: Collection[Key] = ()
) -> list[str]:
    """Write an archive of what is new or changed in a tree that stands still; returns the paths to be removed before.

    Those are gone, or of another kind now; what lies in a folder among them is not named. A member may be a link to a
    file that the first pass has put there. `dirty`: files to be sent in any case, what `dirty_files` found before the
    first pass and now. `nodes`: the walk itself, no list of it, as the folders above a node have to be open.

    `seen` is not used up: without `write`, which reads no content, what is to be removed is known before the archive.
    Raises TreeError and OSError.
    """
    changes = _Changes(seen, tree.Tar(write), frozenset(dirty))
    for node in nodes:
        changes.look(node)
    return changes.finish()


class _Changes:
    """A second pass: the nodes of a tree, one after the other, against what was seen."""

    def __init__(self, seen: Seen, out: tree.Tar, dirty: Collection[Key]) -> None:
        self._seen = seen
        self._out = out
        self._dirty = dirty
        self._there = bytearray(len(seen))
        self._retyped: set[str] = set()
        self._links: dict[Key, tuple[str, bool]] = {}
        """The first name of each file that has several, and whether it is in the archive."""
        self._above: list[Node] = []
        """The folders that the node lies in, the outermost first."""
        self._sent = 0
        """How many of them are in the archive: a folder is never there without those it lies in."""

    def look(self, node: Node) -> None:
        """Send a node if it has to be."""
        if stat.S_ISSOCK(node.stat.st_mode):
            return
        while self._above and not node.path.startswith(self._above[-1].path + "/"):
            self._above.pop()
        self._sent = min(self._sent, len(self._above))
        changed = self._changed(node)
        if not node.several:
            if changed:
                self._send(node)
        elif (known := self._links.get(_key(node.stat))) is None:
            self._links[_key(node.stat)] = node.path, changed
            if changed:
                self._send(node)
        elif changed or known[1]:
            self._send(node, known[0])
        if stat.S_ISDIR(node.stat.st_mode):
            self._above.append(node)
            self._sent += changed

    def finish(self) -> list[str]:
        """End the archive; returns what is to be removed, by name."""
        self._out.finish()
        gone = self._retyped.union(self._seen.without(self._there))
        return sorted(path for path in gone if path.rpartition("/")[0] not in gone)

    def _changed(self, node: Node) -> bool:
        row, stamp = self._seen.row(node.path), _stamp(node.stat)
        if row is None:
            return True
        self._there[row] = 1
        before = self._seen.stamp(row)
        if before[:1] != stamp[:1]:
            self._retyped.add(node.path)
        return before != stamp or _key(node.stat) in self._dirty

    def _send(self, node: Node, link: str = "") -> None:
        """The folders that it lies in first: what is put into them there changes their times."""
        for folder in self._above[self._sent :]:
            self._out.put(folder)
        self._sent = len(self._above)
        self._out.put(node, link)


def size_of(nodes: Iterable[Node]) -> int:
    """About how many bytes the archive of a tree has, without opening a file."""
    size, links = 0, set[Key]()
    for node in nodes:
        size += _HEADERS
        if not stat.S_ISREG(node.stat.st_mode) or (node.several and _key(node.stat) in links):
            continue
        if node.several:
            links.add(_key(node.stat))
        size += min(node.stat.st_size, node.stat.st_blocks * tree.BLOCK)
    return size


def dirty_files(pids: Iterable[int], upper: Path | None) -> set[Key]:
    """The files that processes have mapped shared, whose content may change and their change time not.

    Called right before the first pass and again for the second: a mapping may be gone by then, and what was mapped and
    written in between has a change time that is sent again anyway (but on tmpfs, which may not set it). Read-only
    mappings count too (mprotect may follow), and one file too many is only sent again.

    /proc/PID/maps names a device of the file system's own, which is not that of stat(2) on btrfs: what
    /proc/PID/map_files leads to is taken as well. Of an overlay both name the merged file (before Linux 6.8 the former
    the real one): the same path below `upper` is taken too, where that is the upper folder of the processes' root.
    Processes that have ended map nothing; raises TreeError where maps cannot be read.
    """
    found = set[Key]()
    for pid in pids:
        for addresses, key in _shared(pid):
            found.add(key)
            place = f"/proc/{pid}/map_files/{addresses}"
            with contextlib.suppress(OSError):  # it has ended or unmapped it; or it is none of this overlay's
                found.add(_key(os.stat(place)))
                if upper is not None:
                    found.add(_key(os.lstat(f"{upper}{os.readlink(place)}")))
    return found


_SHARED = re.compile(rb"([0-9a-f]+-[0-9a-f]+) [r-][w-][x-]s [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) ([1-9][0-9]*)")


def _shared(pid: int) -> list[tuple[str, Key]]:
    """The shared mappings of files of a process: from where to where, and the file as maps has it."""
    try:
        with Path(f"/proc/{pid}/maps").open("rb") as lines:
            return [
                (found[1].decode(), (os.makedev(int(found[2], 16), int(found[3], 16)), int(found[4])))
                for found in map(_SHARED.match, lines)
                if found
            ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    except OSError as error:
        raise TreeError(f"what process {pid} has mapped cannot be read", error.strerror or "") from error
