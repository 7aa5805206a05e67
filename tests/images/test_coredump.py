"""Core files: what is in them, what is refused, and nothing from outside the sysroot. tests/host has gdb open one."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pytest
from pycriu.images import pb

from guardian.host.images import coredump
from guardian.host.images.folder import BadImage, Folder
from guardian.model.errors import BadInput, StoreError
from tests.unit.image_builder import LAZY, PAGE, Entry, ImageBuilder, Vma

BASE = 0x10000
FILE = BASE + 64 * PAGE
GUARD = FILE + 64 * PAGE


@pytest.fixture
def builder(tmp_path: Path) -> ImageBuilder:
    made = ImageBuilder(tmp_path / "img")
    made.file(3, "/usr/bin/program")
    made.process(
        1,
        [
            Vma(BASE, BASE + 40 * PAGE),
            Vma(FILE, FILE + 3 * PAGE, "file", 3, offset=PAGE),
            Vma(GUARD, GUARD + PAGE),
        ],
        [
            Entry(BASE, b"a" * PAGE),
            Entry(BASE + 39 * PAGE, b"z" * PAGE),
            Entry(FILE + PAGE, b"f" * PAGE),
            Entry(GUARD, count=1, flags=LAZY),
        ],
        threads=[7],
    )
    made.core(1, registers(1))
    made.core(7, registers(7))
    made.finish()
    return made


def registers(number: int) -> Any:
    core = pb.core_entry(mtype=pb.core_entry.X86_64)
    own = core.thread_info
    own.gpregs.ip = number
    own.fpregs.cwd = 0x37F
    own.fpregs.xmm_space.extend([number] * 64)
    own.fpregs.xsave.xstate_bv = 7
    own.fpregs.xsave.ymmh_space.extend([number + 1] * 64)
    return core


def read(path: Path) -> tuple[list[tuple[int, bytes]], dict[int, tuple[int, bytes]]]:
    """The notes, and each segment's length in memory and content by address."""
    data = path.read_bytes()
    assert struct.unpack_from("<HHI", data, 16) == (4, 62, 1)
    (count,) = struct.unpack_from("<H", data, 56)
    notes, segments = [], {}
    for place in range(64, 64 + 56 * count, 56):
        kind, _, offset, address, _, held, length, _ = struct.unpack_from("<IIQQQQQQ", data, place)
        content = data[offset : offset + held]
        assert len(content) == held
        if kind == 1:
            segments[address] = (length, content)
            continue
        while content:
            name, size, number = struct.unpack_from("<III", content)
            assert name in (5, 6)
            notes.append((number, content[20 : 20 + size]))
            content = content[20 + (size + 3) // 4 * 4 :]
    return notes, segments


def test_memory(builder: ImageBuilder, tmp_path: Path) -> None:
    core = tmp_path / "core"
    written = coredump.write(Folder(builder.path), 1, core)
    _, segments = read(core)
    assert segments[BASE] == (40 * PAGE, b"a" * PAGE + bytes(38 * PAGE) + b"z" * PAGE)
    assert segments[FILE] == (PAGE, b"")
    assert segments[FILE + PAGE] == (PAGE, b"f" * PAGE)
    assert segments[FILE + 2 * PAGE] == (PAGE, b"")
    assert segments[GUARD] == (PAGE, b"")
    assert (written.threads, written.size, written.lazy) == (2, 41 * PAGE, PAGE)
    status = core.stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_blocks * 512 < status.st_size
    assert sorted(os.listdir(tmp_path)) == ["core", "img"]


def test_notes(builder: ImageBuilder, tmp_path: Path) -> None:
    coredump.write(Folder(builder.path), 1, tmp_path / "core")
    notes, _ = read(tmp_path / "core")
    assert [kind for kind, _ in notes] == [1, 3, 6, 0x46494C45, 2, 0x202, 1, 2, 0x202]
    first, second = (data for kind, data in notes if kind == 1)
    assert (len(first), struct.unpack_from("<I", first, 32), struct.unpack_from("<I", second, 32)) == (
        336,
        (1,),
        (7,),
    )
    assert struct.unpack_from("<Q", second, 112 + 16 * 8) == (7,)  # the address of the next instruction
    files = notes[3][1]
    assert struct.unpack_from("<5Q", files) == (1, PAGE, FILE, FILE + 3 * PAGE, 1)
    assert files[40:] == b"/usr/bin/program\0"
    state = notes[5][1]
    assert len(state) == 832
    assert struct.unpack_from("<QQ", state, 464)[0] == 7
    assert struct.unpack_from("<II", state, 160) == (1, 1)
    assert struct.unpack_from("<II", state, 576) == (2, 2)
    assert len(notes[1][1]) == 136


def sysroot(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    return root


def test_pages_of_files_from_the_sysroot(builder: ImageBuilder, tmp_path: Path) -> None:
    root = sysroot(tmp_path)
    (root / "usr/bin/program").write_bytes(b"0" * PAGE + b"1" * PAGE + b"2" * PAGE + b"3" * 10)
    coredump.write(Folder(builder.path), 1, tmp_path / "core", sysroot=root)
    _, segments = read(tmp_path / "core")
    assert segments[FILE] == (PAGE, b"1" * PAGE)
    assert segments[FILE + PAGE] == (PAGE, b"f" * PAGE)
    assert segments[FILE + 2 * PAGE] == (PAGE, (b"3" * 10).ljust(PAGE, b"\0"))


@pytest.mark.parametrize("what", ["file", "folder", "dots", "fifo"])
def test_nothing_is_followed_out_of_the_sysroot(tmp_path: Path, what: str) -> None:
    root = sysroot(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "program").write_bytes(b"secret" * PAGE)
    name = "/usr/bin/program"
    match what:
        case "file":
            (root / "usr/bin/program").symlink_to(outside / "program")
        case "folder":
            (root / "usr/bin").rmdir()
            (root / "usr/bin").symlink_to(outside)
        case "dots":
            name = "/usr/../../outside/program"
        case "fifo":
            os.mkfifo(root / "usr/bin/program")
    builder = ImageBuilder(tmp_path / "img")
    builder.file(3, name)
    builder.process(1, [Vma(FILE, FILE + PAGE, "file", 3)])
    builder.core(1)
    coredump.write(Folder(builder.finish()), 1, tmp_path / "core", sysroot=root)
    _, segments = read(tmp_path / "core")
    assert segments[FILE] == (PAGE, b"")


def test_other_architectures_are_refused(builder: ImageBuilder, tmp_path: Path) -> None:
    builder.core(7, pb.core_entry(mtype=pb.core_entry.AARCH64))
    with pytest.raises(BadImage, match="AARCH64"):
        coredump.write(Folder(builder.path), 1, tmp_path / "core")
    compat = registers(7)
    compat.thread_info.gpregs.mode = pb.COMPAT
    builder.core(7, compat)
    with pytest.raises(BadImage, match="32-bit"):
        coredump.write(Folder(builder.path), 1, tmp_path / "core")
    assert not (tmp_path / "core").exists()


def test_what_cannot_be_written(builder: ImageBuilder, tmp_path: Path) -> None:
    folder = Folder(builder.path)
    with pytest.raises(BadInput):
        coredump.write(folder, 99, tmp_path / "core")
    with pytest.raises(StoreError):
        coredump.write(folder, 1, tmp_path / "nowhere" / "core")
    (tmp_path / "taken").mkdir()
    with pytest.raises(StoreError):
        coredump.write(folder, 1, tmp_path / "taken")
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


def test_registers_that_lie(builder: ImageBuilder, tmp_path: Path) -> None:
    core = registers(1)
    core.thread_info.fpregs.xmm_space.extend([0] * 100)
    builder.core(1, core)
    with pytest.raises(BadImage, match="register"):
        coredump.write(Folder(builder.path), 1, tmp_path / "core")


def test_a_vast_mapping_costs_nothing(tmp_path: Path) -> None:
    builder = ImageBuilder(tmp_path / "img")
    builder.process(1, [Vma(0, 1 << 60)], [Entry(BASE, b"x" * PAGE)])
    builder.core(1)
    coredump.write(Folder(builder.finish()), 1, tmp_path / "core")
    assert (tmp_path / "core").stat().st_size < 1 << 20
