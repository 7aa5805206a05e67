"""What is put over a folder that is there: it ends as the archive says, and nothing outside it is touched."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from guardian.host import tree_put
from guardian.host.tar_reader import BadArchive
from tests.unit.trees import DIRECTORY, FILE, HARD, LINK, Site, settle, snapshot, tar


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_overlayfs_has_noted_on_a_folder_stays(site: Site) -> None:
    (site.target / "folder").mkdir()
    for name in ("trusted.overlay.origin", "user.own"):
        os.setxattr(site.target / "folder", name, b"1")
    tree_put.update(tar(("folder", DIRECTORY, "")), site.target, [])
    assert os.listxattr(site.target / "folder") == ["trusted.overlay.origin"]


def test_default_access_lists_give_nothing_to_what_had_none(site: Site) -> None:
    rwx_for_2 = bytes.fromhex("0200000001000700ffffffff020007000200000004000700ffffffff")
    access = rwx_for_2 + bytes.fromhex("10000700ffffffff20000500ffffffff")
    (site.source / "d/e").mkdir(parents=True)
    (site.source / "d/f").touch()
    (site.source / "d/g").touch()
    try:
        os.setxattr(site.source / "d", "system.posix_acl_default", access)
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    os.setxattr(site.source / "d/g", "system.posix_acl_access", access)
    settle()
    site.first()
    assert snapshot(site.target) == snapshot(site.source)
    os.removexattr(site.source / "d/g", "system.posix_acl_access")
    os.setxattr(site.source / "d/f", "system.posix_acl_access", access)
    assert site.second() == ["d", "d/f", "d/g"]


@pytest.fixture
def trap(site: Site) -> Site:
    """A target with ways out of it."""
    outside = site.target.parent / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "there").write_text("secret")
    (outside / "folder/there").write_text("secret")
    (site.target / "file").write_text("file")
    (site.target / "folder").mkdir()
    (site.target / "folder/file").touch()
    (site.target / "out").symlink_to(outside)
    (site.target / "hole").symlink_to(outside / "there")
    (site.target / "folder/out").symlink_to(outside)
    return site


@pytest.mark.parametrize(
    "items",
    [
        [("out/evil", FILE, "evil")],
        [("out/there", FILE, "evil")],
        [("out/folder", DIRECTORY, "")],
        [("folder/out/there", FILE, "evil")],
        [("new", LINK, "../outside"), ("new/there", FILE, "evil")],
        [("file", LINK, "../outside"), ("file/there", FILE, "evil")],
        [("hard", HARD, "out/there")],
        [("hard", HARD, "../outside/there")],
        [("hard", HARD, "folder")],
        [("../outside/there", FILE, "evil")],
        [("/outside/there", FILE, "evil")],
        [("nowhere/file", FILE, "evil")],
        [("file/inner", FILE, "evil")],
        [("folder", FILE, "evil")],
        [("folder", LINK, "../outside")],
        [("new", DIRECTORY, ""), ("new", LINK, "../outside")],
        [("file", tarfile.CHRTYPE, "")],
        [("file", b"Z", "")],
    ],
)
def test_nothing_is_changed_outside(trap: Site, items: list[tuple[str, bytes, str]]) -> None:
    outside = trap.target.parent / "outside"
    before = snapshot(outside), outside.stat().st_mtime_ns
    with pytest.raises(BadArchive):
        tree_put.update(tar(*items), trap.target, [])
    assert (snapshot(outside), outside.stat().st_mtime_ns) == before
    assert (outside / "there").stat().st_nlink == 1


@pytest.mark.parametrize("name", ["trusted.overlay.opaque", "user.overlay.redirect"])
def test_attributes_of_overlayfs_are_refused(trap: Site, name: str) -> None:
    with pytest.raises(BadArchive, match="overlayfs"):
        tree_put.update(tar(("folder", DIRECTORY, ""), **{f"SCHILY.xattr.{name}": "y"}), trap.target, [])
    assert os.listxattr(trap.target / "folder") == []


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", ".", "./", "..", "../outside", "a/../../outside", "/etc/passwd", "out/there", "a\0b"),
        *("folder/out/there", "out/folder", "file/inner", "nowhere/file", "x/" * 400),
    ],
)
def test_nothing_is_removed_outside(trap: Site, path: str) -> None:
    outside = trap.target.parent / "outside"
    before = snapshot(trap.target), snapshot(outside)
    with pytest.raises(BadArchive):
        tree_put.update(tar(), trap.target, [path])
    assert (snapshot(trap.target), snapshot(outside)) == before


def test_links_are_removed_and_replaced_not_followed(trap: Site) -> None:
    outside = trap.target.parent / "outside"
    before = snapshot(outside)
    stream = tar(("hole", FILE, "new"), ("out", DIRECTORY, ""), ("out/there", FILE, "new"))
    tree_put.update(stream, trap.target, ["out", "folder", "not-there"])
    assert snapshot(outside) == before
    assert (trap.target / "hole").read_text() == "new"
    assert not (trap.target / "hole").is_symlink()
    assert (trap.target / "out/there").read_text() == "new"
    assert not (trap.target / "folder").exists()


def test_what_is_replaced_keeps_its_other_names(trap: Site) -> None:
    """A file is never written into: what else is linked to it stays as it is."""
    os.link(trap.target / "file", trap.target.parent / "outside/linked")
    tree_put.update(tar(("file", FILE, "evil")), trap.target, [])
    assert (trap.target.parent / "outside/linked").read_text() == "file"
    assert (trap.target / "file").read_text() == "evil"


def test_put_still_refuses_what_is_there(trap: Site) -> None:
    for item in (
        ("file", FILE, "evil"),
        ("hole", FILE, "evil"),
        ("out", DIRECTORY, ""),
        ("hole", HARD, "file"),
    ):
        with pytest.raises(BadArchive, match="there already"):
            tree_put.put(tar(item), trap.target)
    assert (trap.target / "file").read_text() == "file"
