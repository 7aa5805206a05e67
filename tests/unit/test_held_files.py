"""Which files of a container lie outside of its image, and when one of them is another file."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.host import held_files
from guardian.host.layer import Layer
from guardian.model import plain
from guardian.model.container import Mount
from guardian.model.held_files import Held, HeldFile, Place, difference, place_of, watched
from tests.unit.samples import container

BINDS = container(
    mounts=(
        Mount("volume", "/var/lib/docker/volumes/v/_data", "/data", True, "v"),
        Mount("bind", "/srv/one", "/etc/one.conf", True),
        Mount("tmpfs", "", "/scratch", True),
    )
)
KINDS = {
    **dict.fromkeys(("/data", "/etc/one.conf", "/etc/hosts", "/data/inner"), "ext4"),
    **dict.fromkeys(("/scratch", "/dev", "/dev/shm", "/data/memory"), "tmpfs"),
    "/": "overlay",
}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/usr/bin/redis", Place("", "usr/bin/redis")),
        ("/data/a/b", Place("/data", "a/b")),
        ("/data/inner/x", Place("/data", "inner/x")),
        ("/data/memory/x", None),
        ("/database/x", Place("", "database/x")),
        ("/etc/one.conf", Place("/etc/one.conf", "")),
        ("/etc/hosts", None),
        ("/scratch/x", None),
        ("/dev/shm/x", None),
    ],
)
def test_places(path: str, place: Place | None) -> None:
    assert place_of(path, BINDS, KINDS) == place


def test_files_that_a_process_or_a_network_serves_are_left_alone() -> None:
    assert watched("ext4")
    assert watched("overlay")
    assert not any(
        watched(kind) for kind in ("fuse", "fuse.sshfs", "fuseblk", "nfs", "nfs4", "9p", "virtiofs")
    )


def _file(**changes: object) -> HeldFile:
    facts: dict[str, object] = {"place": Place("/data", "n"), "size": 3, "modified": 7, "inode": 5}
    return HeldFile(**(facts | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"size": 4}, "had 3 bytes and has 4"),
        ({"modified": 8}, "was written to"),
        ({"inode": 6}, "another file"),
        ({"inode": 0}, ""),
        ({}, ""),
    ],
)
def test_differences(changes: dict[str, object], word: str) -> None:
    said = difference(_file(), _file(**changes))
    assert (word in said) if word else not said
    assert difference(_file(), None) == "is gone"


def test_code_is_the_same_by_its_build_id() -> None:
    before = _file(build_id="ab")
    assert not difference(before, _file(build_id="ab", modified=9, inode=9))
    assert difference(before, _file(build_id="cd"))
    assert difference(before, _file())


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name))
def test_any_name_is_written_and_read_again(name: bytes) -> None:
    held = Held(1, ("/data",), (HeldFile(Place("/data", name.decode("latin-1")), 1, 2),))
    assert plain.made(Held, json.loads(json.dumps(dataclasses.asdict(held)))) == held
    assert str(held.files[0].place).startswith("/data/")


def test_what_a_process_has_open_is_found_again_and_its_change_is_seen(tmp_path: Path) -> None:
    """A process of our own, whose root is the host's: all it has open below a bind, by the same file."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "text").write_text("abc")
    (volume / "gone").write_text("abc")
    mine = container(mounts=(Mount("bind", str(volume), str(volume), True),))
    program = (
        "import sys, os; kept = [open(path) for path in sys.argv[1:]]; os.unlink(sys.argv[2]);"
        "print('ready', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, str(volume / "text"), str(volume / "gone")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        # As if the folder were a mount: it is none in the host.
        found = [
            dataclasses.replace(item, place=Place(str(volume), item.place.path.rpartition("/")[2]))
            for item in held_files.of_processes(mine, process.pid, [process.pid])
            if str(volume).lstrip("/") in item.place.path
        ]
        process.communicate()
    (held,) = found
    assert held.size == 3
    sources = {str(volume): str(volume)}
    assert not difference(held, held_files.now(held, sources, None))
    os.utime(volume / "text", ns=(0, held.modified + 1))
    assert difference(held, held_files.now(held, sources, None)) == "was written to"
    (volume / "text").unlink()
    (volume / "text").symlink_to("/etc/passwd")
    assert difference(held, held_files.now(held, sources, None)) == "is gone"


def test_the_build_id_of_a_program_is_what_its_notes_say() -> None:
    path = os.path.realpath(sys.executable)
    known = subprocess.run(["readelf", "-n", path], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert held_files._build_id_of(path) == known.partition("Build ID: ")[2].split()[0]
    assert not held_files._build_id_of(__file__)


@given(st.binary(max_size=200))
def test_notes_of_any_shape(notes: bytes) -> None:
    assert isinstance(held_files._in_notes(notes), str)


def test_files_of_a_layer(tmp_path: Path) -> None:
    layers = Layer(tmp_path / "upper", (tmp_path / "near", tmp_path / "far"))
    for folder in (layers.upper, *layers.lower):
        folder.mkdir()
    (tmp_path / "far" / "f").write_text("far")
    held = HeldFile(Place("", "f"), 3, (tmp_path / "far" / "f").stat().st_mtime_ns)
    assert not difference(held, held_files.now(held, {}, layers))
    (layers.upper / "f").write_text("upper")
    assert "has 5" in difference(held, held_files.now(held, {}, layers))
    (layers.upper / "f").unlink()
    os.mknod(layers.upper / "f", 0o020000, 0)
    assert difference(held, held_files.now(held, {}, layers)) == "is gone"


def test_a_whole_volume(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("1")
    moment = time.time_ns() + 1_000_000_000
    assert not held_files.written_after(tmp_path, moment, most=10)
    assert held_files.written_after(tmp_path, 0, most=10) == str(tmp_path)
    with pytest.raises(held_files.TooMany):
        held_files.written_after(tmp_path, moment, most=1)
