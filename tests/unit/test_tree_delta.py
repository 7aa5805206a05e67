"""A tree in two passes: whatever happens before, between and during them, the target is the source in the end."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardian.host import layer, tree, tree_delta, tree_put
from guardian.host.layer import Deleted, Layer
from guardian.host.tar_reader import members
from guardian.host.tree_delta import Seen
from tests.unit.trees import CHANGES, Change, Site, change_all, first, make, names, settle, snapshot


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@settings(max_examples=120)
@given(
    st.lists(CHANGES, max_size=25),
    st.lists(st.tuples(st.integers(0, 12), CHANGES), max_size=6),
    st.lists(CHANGES, max_size=12),
)
def test_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[Change],
    meanwhile: list[tuple[int, Change]],
    between: list[Change],
) -> None:
    top = tmp_path_factory.mktemp("tree")
    site = Site(top)
    change_all(site.source, before)
    settle()
    site.first(lambda count: change_all(site.source, (what for at, what in meanwhile if at == count)))
    change_all(site.source, between)
    site.second()
    shutil.rmtree(top)


def test_only_what_changed_is_sent_again(site: Site) -> None:
    for name in ("a/1", "a/2", "b/3", "c"):
        (site.source / name).parent.mkdir(exist_ok=True)
        (site.source / name).write_text(name)
    settle()
    site.first()
    assert site.second() == []
    seen = (site.source / "a/1").stat()
    (site.source / "a/1").write_text("X/1")
    os.utime(site.source / "a/1", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    before = (site.target / "a/2").stat().st_ino
    # The folder is sent because the target's gets another time by the file that is put there.
    assert site.second() == ["a", "a/1"]
    (site.source / "b/3").write_text("X/3")
    assert site.second() == ["a", "a/1", "b", "b/3"]
    assert (site.target / "a/2").stat().st_ino == before


def test_what_changed_just_before_is_sent_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.source / "old").touch()
    settle()
    (site.source / "new").touch()
    site.first()
    assert site.second() == ["new"]
    settle()
    shutil.rmtree(site.target)
    site.target.mkdir()
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 10**12)  # a clock that was set back
    site.first()
    assert site.second() == []


def test_what_changed_during_the_first_pass_is_sent_again(site: Site) -> None:
    for name in ("a", "b"):
        (site.source / name).touch()
    settle()
    site.first(lambda _: (site.source / "b").touch())
    assert site.second() == ["b"]


def test_folders_that_are_renamed_and_kinds_that_change(site: Site) -> None:
    for name in ("old/in/file", "keep/file", "folder/file", "link-to-folder"):
        (site.source / name).parent.mkdir(parents=True, exist_ok=True)
        (site.source / name).write_text(name)
    (site.source / "link").symlink_to("keep")
    (site.source / "gone").touch()
    (site.source / "socket").touch()
    settle()
    site.first()
    (site.source / "old").rename(site.source / "new")
    shutil.rmtree(site.source / "folder")
    (site.source / "folder").write_text("now a file")
    for name in ("link", "link-to-folder", "gone", "socket"):
        (site.source / name).unlink()
    (site.source / "link").mkdir()
    (site.source / "link/file").touch()
    (site.source / "link-to-folder").symlink_to("keep")
    make("socket", site.source / "socket", 0)
    site.second()
    assert site.removed == ["folder", "gone", "link", "link-to-folder", "old", "socket"]
    assert (site.target / "keep/file").read_text() == "keep/file"


def test_hard_links(site: Site) -> None:
    source = site.source
    for name in ("a", "m", "x"):
        (source / name).write_text(name)
        os.link(source / name, source / f"{name}2")
    settle()
    site.first()
    os.link(source / "m2", source / "b")  # a new name, before those that are there
    (source / "x").unlink()  # a name less
    (source / "z").touch()
    (source / "z").rename(source / "a2")  # no name of it any more
    assert site.second() == ["a", "a2", "b", "m", "m2", "x2"]
    assert site.removed == ["x"]


@pytest.mark.parametrize(("known", "sent"), [("a", [("c", "a")]), ("c", [("a", ""), ("c", "a")])])
def test_a_new_name_whose_file_did_not_change(site: Site, known: str, sent: list[tuple[str, str]]) -> None:
    """A file system may leave the change time alone when a file is renamed."""
    (site.source / "a").write_text("one")
    os.link(site.source / "a", site.source / "c")
    settle()
    site.first()
    row, seen = site.seen.row(known), Seen()
    assert row is not None
    seen.add(known, site.seen.stamp(row))
    stream = io.BytesIO()
    assert tree_delta.second(tree.walk(site.source), seen, stream.write) == []
    stream.seek(0)
    assert [(member.path, member.info.linkname) for member in members(stream)] == sent


def test_folders_keep_what_they_are(site: Site) -> None:
    folder = site.source / "folder"
    (folder / "inner").mkdir(parents=True)
    os.setxattr(folder, "user.old", b"1")
    os.utime(folder, ns=(1, 1))
    settle()
    site.first()
    os.removexattr(folder, "user.old")
    os.setxattr(folder, "user.new", b"2")
    os.chmod(folder, 0o2711)
    os.chown(folder, 1, 2)
    (folder / "inner/file").touch()
    os.utime(folder, ns=(1, 2))
    assert site.second() == ["folder", "folder/inner", "folder/inner/file"]


def test_a_layer_whose_whiteouts_come_and_go(site: Site) -> None:
    own = Layer(site.source, ())
    for name in ("becomes", "folder/inner"):
        (site.source / name).parent.mkdir(exist_ok=True)
        (site.source / name).write_text(name)
    for name in ("was", "stays"):
        os.mknod(site.source / name, stat.S_IFCHR, os.makedev(0, 0))
    settle()
    stream, early = io.BytesIO(), Deleted()
    seen = first(layer.nodes(own, early, moving=True), stream.write)
    assert json.loads(early.coded()) == ["stays", "was"]
    stream.seek(0)
    tree_put.put(stream, site.target)

    for name in ("becomes", "was"):
        (site.source / name).unlink()
    shutil.rmtree(site.source / "folder")
    for name in ("becomes", "folder"):
        os.mknod(site.source / name, stat.S_IFCHR, os.makedev(0, 0))
    (site.source / "was").mkdir()
    (site.source / "was/file").write_text("new")
    os.mknod(site.source / "was/hidden", stat.S_IFCHR, os.makedev(0, 0))
    os.utime(site.source / "was", ns=(1, 1))
    stream, gone = io.BytesIO(), Deleted()
    removed = tree_delta.second(layer.nodes(own, gone), seen, stream.write)
    assert removed == ["becomes", "folder"]
    stream.seek(0)
    tree_put.update(stream, site.target, removed)
    assert names(stream) == ["was", "was/file"]
    tree_put.hide(tree_put.deleted_in(gone.coded()), site.target)
    mine, theirs = snapshot(site.source), snapshot(site.target)
    assert mine.keys() == theirs.keys() == {"becomes", "folder", "stays", "was", "was/file", "was/hidden"}
    # A whiteout's own time is nobody's; the folder's is what it was, though one was made in it.
    assert [mine[name] for name in ("was", "was/file")] == [theirs[name] for name in ("was", "was/file")]


def test_memory_of_what_was_seen() -> None:
    tracemalloc.start()
    seen = Seen()
    for number in range(50_000):
        seen.add(f"some/folder/of/usual/length/and/in/it/a/file/{number:015}", bytes([8] * 16))
    used = tracemalloc.get_traced_memory()[0] / len(seen)
    tracemalloc.stop()
    assert used < 300


def test_content_is_never_held_as_a_whole(site: Site) -> None:
    with (site.source / "large").open("wb") as file:
        for _ in range(48):
            file.write(os.urandom(1 << 20))
    stream = (site.target.parent / "archive").open("w+b")
    tracemalloc.start()
    seen = first(tree.walk(site.source, moving=True), stream.write)
    stream.seek(0)
    tree_put.put(stream, site.target)
    stream.seek(0)
    assert tree_delta.second(tree.walk(site.source), seen, stream.write) == []
    stream.seek(0)
    tree_put.update(stream, site.target, [])
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    stream.close()
    assert snapshot(site.target) == snapshot(site.source)


def test_the_size_is_about_right(site: Site) -> None:
    (site.source / "file").write_bytes(b"x" * 100_000)
    os.link(site.source / "file", site.source / "hard")
    with (site.source / "hole").open("wb") as file:
        file.truncate(1 << 30)
    length = tree.write(site.source, None)
    assert abs(tree_delta.size_of(tree.walk(site.source)) - length) < 16384
