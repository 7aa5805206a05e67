"""An archive is believed when every part of it agrees; everything else ends in an error a person understands."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.host import archive_reader, filters, tree, tree_put
from guardian.host.archive_writer import ArchiveWriter, Changed
from guardian.host.command import CommandFailed
from guardian.host.tar_reader import BadArchive, Readable
from guardian.model import archive
from guardian.model.archive import Manifest, Volume
from guardian.model.errors import BadInput
from tests.unit.samples import container, id_of, volume

ID = "20260101T000000-abcdef"
MANIFEST = Manifest(
    checkpoint=ID,
    container_id=id_of("app"),
    name="app",
    taken=1.5,
    purpose="suspend",
    architecture="x86_64",
    kernel="6.12",
    versions={"guardian": "0.1.0"},
    cgroup_driver="systemd",
    image_id="sha256:0",
    tags=("work:1",),
    digests=(),
    image_included=True,
    volumes=(Volume("kept", "/kept", True),),
    members=(),
)


def made() -> bytes:
    stream = io.BytesIO()
    out = ArchiveWriter(stream.write)
    out.json("config.dump", {})
    out.folder("checkpoint/")
    with out.member("checkpoint/pages-1.img", 3000) as write:
        write(b"x" * 1000)
        write(b"y" * 2000)
    out.parts(iter([b"i" * 1000, b"m" * 10]))
    out.finish(MANIFEST)
    return stream.getvalue()


WHOLE = made()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "unpacked"
    place.mkdir()
    return place


def test_it_comes_back(folder: Path) -> None:
    manifest = archive_reader.unpack(io.BytesIO(WHOLE), folder, most=1 << 20)
    assert dataclasses.replace(manifest, members=()) == MANIFEST
    assert (folder / "checkpoint/pages-1.img").read_bytes() == b"x" * 1000 + b"y" * 2000
    assert b"".join(archive_reader.image_parts(folder, manifest)) == b"i" * 1000 + b"m" * 10
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as read:
        assert read.getnames()[-1] == archive.MANIFEST


def test_a_member_has_the_length_it_was_given() -> None:
    out = ArchiveWriter(io.BytesIO().write)
    for data in (b"short", b"much too long"):
        with pytest.raises(Changed), out.member("proof", 8) as write:
            write(data)


@given(st.data())
def test_damage_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(WHOLE) - 2 * tree.BLOCK - 1))
    damaged = bytearray(WHOLE)
    damaged[place] ^= data.draw(st.integers(1, 255))
    unpacked = tmp_path_factory.mktemp("damaged")
    try:
        found = archive_reader.unpack(io.BytesIO(bytes(damaged)), unpacked, most=1 << 20)
    except BadInput as error:
        assert "\n" not in str(error)
    else:  # in padding, or in what a header says of owner and time
        assert {part.name: part for part in found.members}["checkpoint/pages-1.img"].size == 3000
        content = (unpacked / "checkpoint/pages-1.img").read_bytes()
        assert content == b"x" * 1000 + b"y" * 2000
    shutil.rmtree(unpacked)


@given(st.integers(0, len(WHOLE) - 2 * tree.BLOCK - 1))
def test_a_cut_is_found(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    unpacked = tmp_path_factory.mktemp("cut")
    try:
        found = archive_reader.unpack(io.BytesIO(WHOLE[:length]), unpacked, most=1 << 20)
    except BadInput:
        pass
    else:  # only padding was cut off
        assert len(found.members) == 3
    shutil.rmtree(unpacked)


def test_more_than_there_is_room_for(folder: Path) -> None:
    with pytest.raises(BadArchive, match="more than is allowed"):
        archive_reader.unpack(io.BytesIO(WHOLE), folder, most=3000)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/x",
        "checkpoint/../x",
        "checkpoint/a/b",
        "checkpoint/pre-4/b",
        "checkpoint/pre-1/b/c",
        "checkpoint/pre-1/../b",
        "checkpoint/pre-1",
        "checkpoint/parent",
        "checkpoint/pre-2/parent",
        "guardian/volumes/../x",
        "a b",
        "",
        "x" * 101,
        "a\nb",
        ".x",
        "checkpoint",
        "guardian",
        "guardian/volumes",
    ],
)
def test_names_that_no_member_has(name: str) -> None:
    assert not archive.is_name(name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(st.sampled_from(sorted(MANIFEST.to_json())), JSON)
def test_a_manifest_of_anything(key: str, value: object) -> None:
    data = json.loads(json.dumps(MANIFEST.to_json()))
    assert Manifest.from_json(data) == MANIFEST
    for wrong in (data | {key: value}, {other: data[other] for other in data if other != key}, value):
        try:
            Manifest.from_json(wrong)
        except BadInput as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("taken", float("inf")),
        ("taken", float("nan")),
        ("taken", 10**400),
        ("taken", -1),
        ("taken", "1"),
        ("kernel", "\ud800"),
        ("members", [{"name": "proof", "size": 10**30, "sha256": "0" * 64}]),
    ],
)
def test_values_that_nothing_can_be_done_with(key: str, value: object) -> None:
    with pytest.raises(BadInput):
        Manifest.from_json(MANIFEST.to_json() | {key: value})


@pytest.mark.parametrize("name", archive.FOLDERS)
def test_a_file_named_like_a_folder(folder: Path, name: str) -> None:
    """Not an OSError: the folder is there already when the file is to be made."""
    with pytest.raises(BadArchive, match="no name of this format"):
        archive_reader.unpack(tar((name, FILE, "x")), folder, most=1 << 20)


def test_a_newer_format_names_itself() -> None:
    with pytest.raises(BadInput, match="format 2"):
        Manifest.from_json(MANIFEST.to_json() | {"format": 2})


def test_volumes_by_name() -> None:
    mounts = (volume("one"), dataclasses.replace(volume("two"), destination="/two"))
    assert [item.included for item in archive.chosen(mounts, "none")] == [False, False]
    assert [item.included for item in archive.chosen(mounts, "all")] == [True, True]
    assert [item.name for item in archive.chosen(mounts, "two") if item.included] == ["two"]
    assert archive.chosen(container().mounts, "all") == ()
    with pytest.raises(BadInput, match="no volume 'three'"):
        archive.chosen(mounts, "one,three")


def tar(*members: tuple[str, bytes, str]) -> io.BytesIO:
    """Members as name, type and what they link to or hold."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.uid, info.gid = kind, os.getuid(), os.getgid()
            info.size = len(text) if kind == tarfile.REGTYPE else 0
            info.linkname = text if kind != tarfile.REGTYPE else ""
            out.addfile(info, io.BytesIO(text.encode()))
    stream.seek(0)
    return stream


FILE, LINK, HARD, DIRECTORY = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "members",
    [
        [("out", LINK, "{outside}"), ("out/evil", FILE, "evil")],
        [("out", LINK, "{outside}/evil"), ("out", FILE, "evil")],
        [("../evil", FILE, "evil")],
        [("hard", HARD, "../outside/there")],
        [("out", LINK, "{outside}"), ("hard", HARD, "out/there")],
        [("a", FILE, "1"), ("a", FILE, "2")],
        [("nowhere/evil", FILE, "evil")],
        [("null", tarfile.CHRTYPE, "")],
        [("x", b"Z", "")],
    ],
)
def test_nothing_is_put_outside(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "there").write_text("secret")
    stream = tar(*((name, kind, text.format(outside=outside)) for name, kind, text in members))
    with pytest.raises(BadArchive):
        tree_put.put(stream, root)
    assert [path.name for path in outside.iterdir()] == ["there"]
    assert (outside / "there").stat().st_nlink == 1


def test_what_was_kept_is_put_as_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "folder").mkdir(parents=True)
    target.mkdir()
    (source / "folder/file").write_text("content")
    os.link(source / "folder/file", source / "hard")
    (source / "link").symlink_to("/nowhere")
    os.mkfifo(source / "pipe")
    with (source / "hole").open("wb") as file:
        file.truncate(1 << 24)
    os.chmod(source / "folder/file", 0o4750)
    for name in ("folder/file", "folder"):
        os.utime(source / name, ns=(1, 1111111111_987654321))
    stream = io.BytesIO()
    tree.write(source, stream.write)
    stream.seek(0)
    assert tree_put.check(stream) == (1 << 24) + len("content")
    stream.seek(0)
    tree_put.put(stream, target)
    for name in ("folder", "folder/file", "link", "pipe", "hole"):
        before, after = (source / name).lstat(), (target / name).lstat()
        assert (before.st_mode, before.st_size if name != "folder" else 0, before.st_mtime_ns) == (
            after.st_mode,
            after.st_size if name != "folder" else 0,
            after.st_mtime_ns,
        )
    assert (target / "hard").samefile(target / "folder/file")
    assert (target / "hole").stat().st_blocks == 0


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (FILE, {"uid": -5}),
        (FILE, {"gid": (1 << 32) - 1}),
        (tarfile.CHRTYPE, {"devmajor": 1 << 20}),
        (tarfile.BLKTYPE, {"devminor": -1}),
        (LINK, {"pax_headers": {"linkpath": "a\0b"}}),
        (FILE, {"pax_headers": {"SCHILY.xattr.user.\0": "x"}}),
    ],
)
def test_what_the_kernel_could_not_be_asked_for(kind: bytes, changes: dict[str, Any]) -> None:
    """Found out when the archive is looked at: later it would be an error of Python's, with half of it made."""
    info = tarfile.TarInfo("x")
    info.type, info.linkname = kind, "y" if kind == LINK else ""
    for key, value in changes.items():
        setattr(info, key, value)
    form: Literal[1, 2] = 2 if "pax_headers" in changes else 1  # PAX_FORMAT, GNU_FORMAT
    with pytest.raises(BadArchive):
        tree_put.check(io.BytesIO(info.tobuf(form) + tree.END))


@pytest.mark.parametrize(
    "data",
    [b'["\\ud800"]', b"", b"{}", b"[1]", b'["../x"]', b'["a/../../b"]', b'[""]', b'["/"]', b"[" * 9000],
)
def test_lists_of_deleted_files(data: bytes) -> None:
    with pytest.raises(BadArchive):
        tree_put.deleted_in(data)


def test_compression_and_its_damage(tmp_path: Path) -> None:
    place = tmp_path / "file"
    with place.open("wb") as file, filters.encoded(file, compress=True, recipient="") as write:
        write(WHOLE)
    assert place.stat().st_size < len(WHOLE)
    with place.open("rb") as source, filters.decoded(source, identity="") as stream:
        assert read_all(stream) == WHOLE
    data = place.read_bytes()
    place.write_bytes(data[:-10])
    with (
        place.open("rb") as source,
        filters.decoded(source, identity="") as stream,
        pytest.raises(BadArchive),
    ):
        read_all(stream)


def read_all(stream: Readable) -> bytes:
    parts = []
    while data := stream.read(1000):
        parts.append(data)
    return b"".join(parts)


def test_a_program_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        (tmp_path / "file").open("wb") as file,
        pytest.raises(CommandFailed, match="apt install zstd"),
        filters.encoded(file, compress=True, recipient="") as write,
    ):
        write(b"x")


def test_names_that_an_image_would_take(folder: Path) -> None:
    inner = tar(
        ("manifest.json", FILE, json.dumps([{"Config": "x", "RepoTags": ["a:1", "b:2"]}])),
        (
            "index.json",
            FILE,
            json.dumps({"manifests": [{"annotations": {"io.containerd.image.name": "c:3"}}]}),
        ),
        ("repositories", FILE, json.dumps({"d": {"4": "0" * 64}})),
    ).read()
    stream = io.BytesIO()
    out = ArchiveWriter(stream.write)
    out.parts(iter([inner]))
    out.finish(MANIFEST)
    stream.seek(0)
    manifest = archive_reader.unpack(stream, folder, most=1 << 20)
    assert archive_reader.image_tags(folder, manifest) == {"a:1", "b:2", "c:3", "d:4"}
    part = manifest.members[0]
    assert part.sha256 == hashlib.sha256(inner).hexdigest()
