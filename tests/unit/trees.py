"""A tree that is brought to another place in two passes, and what may happen to it."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import random
import shutil
import stat
import tarfile
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from guardian.host import tree, tree_delta, tree_put
from guardian.host.tar_reader import members
from guardian.host.tree_delta import Key, Seen

GRAIN = 20_000_000
"""Nanoseconds: more than a tick, and little enough to be waited for."""
FILE, LINK, HARD, DIRECTORY = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def settle() -> None:
    """Wait until what was just changed has a change time that proves something to `first`."""
    end = time.time_ns() + GRAIN + 1_000_000
    while time.time_ns() <= end:
        time.sleep(0.001)


def first(nodes: Iterable[tree.Node], write: tree.Write) -> Seen:
    """The first pass, sure of what has changed more than `GRAIN` ago."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_delta, "UNSURE", GRAIN)
        return tree_delta.first(nodes, write)


class Site:
    """A source, a target, and the two passes between them."""

    def __init__(self, top: Path) -> None:
        self.source, self.target = top / "source", top / "target"
        for folder in (self.source, self.target):
            folder.mkdir(parents=True)
        self.seen = Seen()
        self.removed: list[str] = []

    def first(self, meanwhile: Callable[[int], None] = lambda _: None) -> list[str]:
        """The first pass; `meanwhile` is called with the number of each piece that was written."""
        stream, count = io.BytesIO(), 0

        def write(data: bytes) -> None:
            nonlocal count
            stream.write(data)
            meanwhile(count)
            count += 1

        self.seen = first(tree.walk(self.source, moving=True), write)
        stream.seek(0)
        tree_put.put(stream, self.target)
        return names(stream)

    def second(self, dirty: Collection[Key] = ()) -> list[str]:
        stream = io.BytesIO()
        walk = tree.walk(self.source)
        known = tree_delta.second(tree.walk(self.source), self.seen, None, dirty=dirty)
        self.removed = tree_delta.second(walk, self.seen, stream.write, dirty=dirty)
        assert known == self.removed
        stream.seek(0)
        tree_put.check(stream)
        stream.seek(0)
        tree_put.update(stream, self.target, self.removed)
        assert snapshot(self.target) == snapshot(self.source)
        return names(stream)


def names(stream: io.BytesIO) -> list[str]:
    stream.seek(0)
    return [member.path for member in members(stream)]


def snapshot(root: Path) -> dict[str, object]:
    """All that is to be the same on the other side."""
    found: dict[str, object] = {}
    inodes: dict[Key, set[str]] = {}
    for node in tree.walk(root):
        seen, content = node.stat, b""
        if stat.S_ISSOCK(seen.st_mode):
            continue
        if stat.S_ISREG(seen.st_mode):
            content = (root / node.path).read_bytes()
        elif stat.S_ISLNK(seen.st_mode):
            content = os.fsencode(node.target())
        alike = inodes.setdefault((seen.st_dev, seen.st_ino), set())
        alike.add(node.path)
        facts = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_mtime_ns, seen.st_rdev)
        found[node.path] = (*facts, tuple(sorted(node.xattrs.items())), content, alike)
    return found


def tar(*items: tuple[str, bytes, str], **headers: str) -> io.BytesIO:
    """Members as name, type and what they link to or hold."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, kind, text in items:
            info = tarfile.TarInfo(name)
            info.type, info.pax_headers = kind, headers
            info.size = len(text) if kind == FILE else 0
            info.linkname = text if kind in (LINK, HARD) else ""
            out.addfile(info, io.BytesIO(text.encode()))
    stream.seek(0)
    return stream


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
NUMBERS = st.integers(0, 3)
CHANGES = st.one_of(
    st.tuples(
        st.sampled_from(["write", "append", "mode", "owner", "xattr", "time", "truncate"]), PATHS, NUMBERS
    ),
    st.tuples(
        st.sampled_from(["file", "folder", "pipe", "socket", "node", "hole", "remove"]), PATHS, NUMBERS
    ),
    st.tuples(st.sampled_from(["link", "hard", "rename", "exchange"]), PATHS, PATHS),
)
Change = tuple[str, str, int | str]


def change_all(root: Path, changes: Iterable[Change]) -> None:
    """Do things to a tree, as far as they can be done."""
    for kind, path, other in changes:
        if kind in ("file", "folder", "hole", "pipe", "link"):
            with contextlib.suppress(OSError):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError, shutil.Error):
            if isinstance(other, int):
                _change_one(kind, root / path, other)
            else:
                _change_two(kind, root / path, root / other, other)


def _change_one(kind: str, place: Path, number: int) -> None:
    plain = not place.is_symlink()
    if kind in ("write", "append", "truncate") and plain and place.is_file():
        with place.open("ab" if kind == "append" else "r+b") as file:
            file.write(b"%d" % number * 700 * number)
            if kind == "truncate":
                file.truncate(number * 1000)
    elif kind == "mode" and plain:
        os.chmod(place, (0o600, 0o755, 0o4711, 0o1777)[number])
    elif kind == "owner":
        os.lchown(place, number, number + 1)
    elif kind == "xattr" and plain:
        if number:
            os.setxattr(place, f"user.{number}", b"\0value%d" % number)
        else:
            for name in os.listxattr(place):
                os.removexattr(place, name)
    elif kind == "time":
        os.utime(
            place, ns=(1, (0, 1, 1_234_567_890_123_456_789, -1_000_000_001)[number]), follow_symlinks=False
        )
    else:
        make(kind, place, number)


def make(kind: str, place: Path, number: int) -> None:
    if kind == "remove":
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    elif kind == "file":
        with place.open("xb") as file:
            file.write(random.Random(number).randbytes(number * 1000))
    elif kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        os.mknod(place, stat.S_IFSOCK | 0o600)
    elif kind == "node":
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, number + 3))
    elif kind == "hole":
        with place.open("xb") as file:
            file.seek(number << 16)
            file.write(b"x")
            file.truncate((number + 1) << 16)


def _change_two(kind: str, place: Path, other: Path, text: str) -> None:
    if kind == "link":
        place.symlink_to(text)
    elif kind == "hard":
        os.link(place, other, follow_symlinks=False)
    elif kind == "rename":
        place.rename(other)
    elif kind == "exchange":
        here = -100  # AT_FDCWD
        ctypes.CDLL(None).renameat2(here, os.fsencode(place), here, os.fsencode(other), 2)
