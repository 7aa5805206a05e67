"""A layer as an archive: everything comes back as it was, and what it deletes is named."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from guardian.host import layer, tree
from guardian.host.layer import Layer
from guardian.host.tar_reader import members


def written(layer_: Layer) -> tuple[bytes, list[str]]:
    stream = io.BytesIO()
    length, deleted = layer.write(layer_, stream.write)
    assert length == len(stream.getvalue()) == layer.write(layer_, None)[0]
    return stream.getvalue(), json.loads(deleted)


@pytest.fixture
def upper(tmp_path: Path) -> Layer:
    found = Layer(tmp_path / "upper", (tmp_path / "lower",))
    for folder in (found.upper, *found.lower):
        folder.mkdir()
    return found


def test_metadata_links_and_holes(upper: Layer, tmp_path: Path) -> None:
    top = upper.upper
    (top / "file").write_bytes(b"content")
    os.utime(top / "file", ns=(1, 1234567890_123456789))
    os.link(top / "file", top / "hard")
    (top / "link").symlink_to("/etc/passwd")
    os.mkfifo(top / "pipe", 0o640)
    with (top / "hole").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
    odd = b"\xff\n" + "é".encode()
    Path(os.fsdecode(bytes(top) + b"/" + odd)).write_text("odd")
    (top / ("n" * 200)).mkdir(mode=0o701)
    os.chmod(top / "file", 0o4751)
    data, deleted = written(upper)
    assert deleted == []
    assert len(data) < 1 << 18
    (tmp_path / "tar").write_bytes(data)
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["tar", "-C", tmp_path / "out", "-xpf", tmp_path / "tar"], check=True, stderr=subprocess.DEVNULL
    )
    out = tmp_path / "out"
    for name in ("file", "pipe", "hole", "n" * 200):
        mine, theirs = (top / name).stat(), (out / name).stat()
        assert (mine.st_mode, mine.st_mtime_ns) == (theirs.st_mode, theirs.st_mtime_ns)
    assert (out / "file").samefile(out / "hard")
    assert (out / "link").readlink() == Path("/etc/passwd")
    assert (out / "hole").stat().st_size == (1 << 30) + 3
    read = {item.path: b"".join(item.chunks()) for item in members(io.BytesIO(data)) if item.path != "hole"}
    assert read[os.fsdecode(odd)] == b"odd"


def test_whiteouts_and_opaque_folders(upper: Layer) -> None:
    top, below = upper.upper, upper.lower[0]
    for name in ("opaque/both", "opaque/gone", "merged"):
        (below / name).mkdir(parents=True)
        (below / name / "file").touch()
    os.mknod(top / "removed", 0o20000, os.makedev(0, 0))
    os.mknod(top / "null", 0o20666, os.makedev(1, 3))
    for name in ("opaque/both", "merged"):
        (top / name).mkdir(parents=True)
    os.setxattr(top / "opaque", "trusted.overlay.opaque", b"y")
    os.setxattr(top / "merged", "user.own", b"a\0b\xff=\n")
    data, deleted = written(upper)
    assert deleted == ["opaque/both/file", "opaque/gone", "removed"]
    found = {item.path: item.info for item in members(io.BytesIO(data))}
    assert set(found) == {"opaque", "opaque/both", "merged", "null"}
    assert tree.xattrs_of(found["merged"]) == {"user.own": b"a\0b\xff=\n"}
    assert tree.xattrs_of(found["opaque"]) == {}


def test_a_link_in_a_lower_layer_is_not_followed(upper: Layer, tmp_path: Path) -> None:
    (tmp_path / "outside" / "inner").mkdir(parents=True)
    (tmp_path / "outside" / "inner" / "secret").touch()
    (upper.lower[0] / "a").symlink_to(tmp_path / "outside")
    (upper.upper / "a" / "inner").mkdir(parents=True)
    os.setxattr(upper.upper / "a" / "inner", "user.overlay.opaque", b"y")
    assert written(upper)[1] == []


def test_nesting_without_end(upper: Layer) -> None:
    at = os.open(upper.upper, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    with pytest.raises(tree.TreeError, match="too deep"):
        layer.write(upper, None)


def test_too_large_leaves_nothing(upper: Layer, tmp_path: Path) -> None:
    (upper.upper / "file").write_bytes(bytes(100_000))
    kept = tmp_path / "kept"
    kept.mkdir()
    for way in (layer.check_size, layer.keep):
        with pytest.raises(tree.TreeError, match="too large"):
            way(upper, kept, most=50_000)
    assert list(kept.iterdir()) == []
    layer.keep(upper, kept)
    with tarfile.open(kept / layer.DIFF) as archive:
        assert archive.getnames() == ["file"]


@pytest.mark.parametrize(
    ("options", "known", "upper_", "lower"),
    [
        ("rw,lowerdir=/l/1:/l/2,upperdir=/u/diff,workdir=/u/work", "", "/u/diff", ["/l/1", "/l/2"]),
        ("rw,lowerdir=l/A:l/B,upperdir=X/diff", "/o/X/diff", "/o/X/diff", ["/o/l/A", "/o/l/B"]),
        ("rw,lowerdir+=/l/1,lowerdir+=/l/2,upperdir=/u", "", "/u", ["/l/1", "/l/2"]),
        (r"rw,lowerdir=/l\:1:/l/2,upperdir=/u\,v/diff", "", "/u,v/diff", ["/l:1", "/l/2"]),
    ],
)
def test_options_of_a_mount(options: str, known: str, upper_: str, lower: list[str]) -> None:
    found = layer.parse(options, known)
    assert found == Layer(Path(upper_), tuple(map(Path, lower)))
    assert Layer.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize("options", ["", "rw", "upperdir=relative", "lowerdir=/a"])
def test_options_without_a_layer(options: str) -> None:
    assert layer.parse(options) is None
