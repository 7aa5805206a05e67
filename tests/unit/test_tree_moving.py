"""A tree that is read while it is in use: what goes away, shrinks and grows, and what processes have mapped."""

from __future__ import annotations

import io
import mmap
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guardian.host import tree, tree_delta
from guardian.host.tar_reader import members
from tests.unit.trees import GRAIN, Site, make, settle


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_vanishes_is_left_out(site: Site) -> None:
    for name in ("a", "b/one", "b/two", "c", "d/e/f", "g"):
        (site.source / name).parent.mkdir(parents=True, exist_ok=True)
        (site.source / name).write_text(name)
    (site.source / "link").symlink_to("a")
    settle()

    def meanwhile(count: int) -> None:
        if count == 0:
            (site.source / "b/two").unlink()
            shutil.rmtree(site.source / "d")
            (site.source / "g").unlink()
            (site.source / "g").symlink_to("c")
            (site.source / "link").unlink()
            (site.source / "link").mkdir()

    assert site.first(meanwhile) == ["a", "b", "b/one", "c", "g", "link"]
    # The folder changed after it was looked at; those after it were looked at later.
    site.second()


@pytest.mark.parametrize("reused", [False, True], ids=["another inode", "most likely the same inode"])
@pytest.mark.parametrize("by", ["file", "folder", "link", "pipe", "socket", "nothing"])
def test_a_file_that_another_takes_the_place_of(
    site: Site, by: str, reused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.source / "x").write_text("secret")
    (site.source / "link").symlink_to("x")
    outside = site.target.parent / "outside"
    outside.write_text("outside")
    settle()

    def look(node: tree.Node) -> tarfile.TarInfo | None:
        place = site.source / node.path
        if node.path == "x" and node.stat.st_size == 6:
            place.unlink() if reused else place.rename(outside)
            if by == "link":
                place.symlink_to("../outside")
            elif by != "nothing":
                make(by, place, 1)
        return header(node)

    header = tree.header
    monkeypatch.setattr(tree, "header", look)
    sent = site.first()
    # Another file with the same number cannot be told from it by then, but in the second pass.
    assert sent == ["link"] or (sent == ["link", "x"] and reused and by == "file")
    assert site.second() == (["x"] if by not in ("socket", "nothing") else [])
    assert site.removed == []


def test_what_shrinks_is_filled_up_and_what_grows_is_cut(site: Site) -> None:
    size = tree.CHUNK + 1000
    for name in ("grows", "shrinks", "still"):
        (site.source / name).write_bytes(b"x" * size)
    settle()

    def meanwhile(count: int) -> None:
        with (site.source / "grows").open("ab") as file:
            file.write(b"y" * 10)
        if count == 7:  # of the second file the header and the first piece are out
            os.truncate(site.source / "shrinks", 5)

    assert site.first(meanwhile) == ["grows", "shrinks", "still"]
    assert (site.target / "grows").read_bytes() == b"x" * size
    shrunk = (site.target / "shrinks").read_bytes()
    assert len(shrunk) == size
    assert shrunk.strip(b"\0").strip(b"x") == b""
    assert shrunk.endswith(bytes(1000))
    assert site.second() == ["grows", "shrinks"]


@pytest.mark.parametrize("name", ["b", "c"])
def test_the_strict_walk_stays_strict(site: Site, name: str) -> None:
    for each in ("a", "b", "c/d"):
        (site.source / each).parent.mkdir(exist_ok=True)
        (site.source / each).touch()
    for moving in (False, True):
        walk = tree.walk(site.source, moving=moving)
        next(walk)
        (site.source / name).rename(site.source.parent / "away")
        if moving:
            assert name not in [node.path for node in walk]
        else:
            with pytest.raises(tree.TreeError, match="changed while"):
                list(walk)
        (site.source.parent / "away").rename(site.source / name)


def test_the_strict_archive_stays_strict(site: Site) -> None:
    place = site.source / "a"
    place.write_bytes(b"x" * 3000)
    tar, walk = tree.Tar(lambda _: None), tree.walk(site.source)
    node = next(walk)  # whose folder is open as long as the walk is there
    os.truncate(place, 10)
    with pytest.raises(tree.TreeError, match="shorter"):
        tar.add(node)
    place.rename(site.target / "a")
    with pytest.raises(tree.Vanished):
        tar.add(node)
    place.touch()
    with pytest.raises(tree.Vanished, match="changed while"):
        tar.add(node)
    assert list(walk) == []


def test_an_inode_number_that_is_used_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no name of the file that had the number before."""
    for name in ("a", "b"):
        (site.source / name).write_text(name)
        os.link(site.source / name, site.source / f"{name}-too")

    def nodes() -> Iterator[tree.Node]:
        for node in tree.walk(site.source, moving=True):
            yield tree.Node(node.path, _with_inode(node.stat, 1), node.folder, node.name)

    monkeypatch.setattr(tree.Node, "_differs", lambda *_: False)
    stream = io.BytesIO()
    tree_delta.first(nodes(), stream.write)
    stream.seek(0)
    found = {member.path: member.info.linkname for member in members(stream)}
    assert found == {"a": "", "a-too": "a", "b": "", "b-too": "b"}


def _with_inode(seen: os.stat_result, number: int) -> os.stat_result:
    reduced = seen.__reduce__()
    assert isinstance(reduced, tuple)
    values, names_ = reduced[1]
    return os.stat_result((values[0], number, *values[2:]), names_)


def test_what_is_written_through_a_mapping(site: Site) -> None:
    place = site.source / "mapped"
    place.write_bytes(bytes(8192))
    (site.source / "private").write_bytes(bytes(8192))
    with place.open("r+b") as file, (site.source / "private").open("r+b") as other:
        kept = mmap.mmap(other.fileno(), 8192, mmap.MAP_PRIVATE)
        with mmap.mmap(file.fileno(), 8192) as mapping:
            mapping[0] = 1
            settle()
            before = tree_delta.dirty_files([os.getpid()], None)
            site.first()
            mapping[1] = 2  # on a page that is dirty already: no change time
            assert place.stat().st_ctime_ns < time.time_ns() - GRAIN
        # By now it is unmapped.
        now = tree_delta.dirty_files([os.getpid()], None)
        key = (place.stat().st_dev, place.stat().st_ino)
        assert key in before
        assert key not in now
        assert (site.source / "private").stat().st_ino not in {inode for _, inode in before}
        kept.close()
    assert site.second(before | now) == ["mapped"]


def test_processes_that_have_ended() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert tree_delta.dirty_files([process.pid, 2**22 + 1], None) == set()


MAPPER = """
import ctypes, errno, mmap, os, sys
top, options = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
def must(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
try:
    must(libc.unshare(0x20000))  # CLONE_NEWNS
    must(libc.mount(b"none", b"/", None, 0x44000, None))  # MS_REC | MS_PRIVATE
    must(libc.mount(b"overlay", top.encode(), b"overlay", 0, options.encode()))
except PermissionError as error:
    sys.exit("not permitted" if error.errno == errno.EPERM else str(error))
os.mkdir(f"{top}/old")
os.chdir(top)
must(libc.syscall(155, b".", b"old"))  # pivot_root
os.chdir("/")
kept = []
for name in ("/copied", "/folder/new"):
    with open(name, "r+b") as file:
        kept.append(mmap.mmap(file.fileno(), 4096))
print("mapped", flush=True)
sys.stdin.read()
"""


def test_files_of_an_overlay(tmp_path: Path) -> None:
    """Files of the upper folder are known by their names: the overlay's numbers are others."""
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for folder in (lower, upper / "folder", work, merged):
        folder.mkdir(parents=True)
    (lower / "copied").write_bytes(bytes(4096))
    (upper / "folder/new").write_bytes(bytes(4096))
    (upper / "other").write_bytes(bytes(4096))
    process = subprocess.Popen(
        [sys.executable, "-c", MAPPER, merged, f"lowerdir={lower},upperdir={upper},workdir={work}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "mapped\n":
        why = process.communicate()[1].strip()
        if why == "not permitted":
            pytest.skip("mounting is not permitted here")
        pytest.fail(why)
    try:
        found = tree_delta.dirty_files([process.pid], upper)
    finally:
        process.communicate("")
    assert {node.path for node in tree.walk(upper) if (node.stat.st_dev, node.stat.st_ino) in found} == {
        "copied",
        "folder/new",
    }
