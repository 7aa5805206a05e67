"""Reading, listing and strings, and images that are damaged on purpose."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guardian.faces import cli_memory
from guardian.faces.jobs import Status
from guardian.host.images.files import OpenFiles
from guardian.host.images.folder import BadImage, Folder
from guardian.host.images.memory import Memory
from guardian.host.images.search import Search
from tests.unit.image_builder import LAZY, PAGE, PARENT, Entry, ImageBuilder, Vma

BASE = 0x10000
LIBRARY = BASE + 16 * PAGE


@pytest.fixture
def images(tmp_path: Path) -> Path:
    builder = ImageBuilder(tmp_path / "img")
    builder.file(3, "usr/lib/\x1b[31mlib.so")
    builder.process(
        1,
        [
            Vma(BASE, BASE + 4 * PAGE, "heap"),
            Vma(BASE + 4 * PAGE, BASE + 5 * PAGE),
            Vma(LIBRARY, LIBRARY + 2 * PAGE, "file", 3),
        ],
        [
            Entry(BASE + PAGE, b"hello\x1b[2J world".ljust(PAGE, b"\0")),
            Entry(BASE + 4 * PAGE, b"w\0i\0d\0e\0r\0".ljust(PAGE, b"\0")),
            Entry(LIBRARY + PAGE, count=1, flags=LAZY),
        ],
    )
    return builder.finish()


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    cli_memory.add(lambda _name, _run, _text: parser)
    options = parser.parse_args([str(argument) for argument in arguments])
    try:
        return int(options.run(options))
    except BadImage as error:  # as the command line does
        print(f"guardianctl: {error}", file=sys.stderr)
        return Status.REFUSED


def test_search_shows_no_control_characters(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("search", images, "world") == 0
    shown = capsys.readouterr().out
    assert "hello\\x1b[2J [world]\\x00" in shown
    assert "\x1b" not in shown
    assert run("search", images, "not there") == 1


def test_search_as_json_and_the_most(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("search", images, "--regex", "--json", "--most", 1, "--context", 0, "[dl]") == 0
    told = capsys.readouterr()
    (line,) = told.out.splitlines()
    found = json.loads(line)
    assert (found["address"], found["match"], found["before"]) == (BASE + PAGE + 2, "l", "")
    assert "more than 1" in told.err
    assert "4096 bytes of process 1 are not there" in told.err


def test_status_of_usage_and_of_bad_images(images: Path, tmp_path: Path) -> None:
    assert run("search", images, "--regex", "((") == 2
    assert run("search", images, "--hex", "0g") == 2
    assert run("search", images, "--pid", 7, "x") == 2
    assert run("search", tmp_path / "nowhere", "x") == 4
    (images / "mm-1.img").write_bytes(b"\0" * 20)
    assert run("search", images, "x") == 4


@pytest.mark.parametrize(
    "name", ["heap", "[heap]", hex(BASE), f"{BASE:x}-{BASE + 4 * PAGE:x}", "10000+0x4000"]
)
def test_read_raw(images: Path, capfdbinary: pytest.CaptureFixture[bytes], name: str) -> None:
    assert run("read", images, "--pid", 1, name) == 0
    found = capfdbinary.readouterr().out
    assert len(found) == 4 * PAGE
    assert found[PAGE : PAGE + 15] == b"hello\x1b[2J world"
    assert found.count(b"\0") == 4 * PAGE - 15


def test_read_over_a_seam_and_past_the_end(images: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("read", images, "--pid", 1, f"{BASE + 4 * PAGE - 2:x}+4") == 0
    assert capfdbinary.readouterr().out == b"\0\0w\0"
    assert run("read", images, "--pid", 1, f"{BASE + 5 * PAGE - 2:x}+4") == 4
    assert run("read", images, "--pid", 1, "nothing") == 2


def test_hex_dump(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("read", images, "--pid", 1, "--hexdump", f"{BASE + PAGE:x}+64") == 0
    assert capsys.readouterr().out.splitlines() == [
        "000000011000  68 65 6c 6c 6f 1b 5b 32  4a 20 77 6f 72 6c 64 00  |hello.[2J world.|",
        "000000011010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|",
        "*",
        "000000011030  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|",
    ]
    assert run("read", images, "--pid", 1, "--hexdump", f"{LIBRARY:x}") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{LIBRARY:012x}  4096 bytes are not in the images: as in /usr/lib/?[31mlib.so",
        f"{LIBRARY + PAGE:012x}  4096 bytes are not in the images: left on the host it was dumped on",
    ]


def test_map(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("map", images) == 0
    heap, _, library = capsys.readouterr().out.splitlines()
    assert heap.split("\t") == ["1", "000000010000-000000014000", "rw-p", "00000000", "16K", "4K", "[heap]"]
    assert library.endswith("8K\t0K+4K lazy\t/usr/lib/?[31mlib.so")
    assert run("map", images, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[2])["lazy"] == PAGE


def test_strings(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("strings", images, "--least", 5) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"1\t{BASE + PAGE:#x}\thello",
        f"1\t{BASE + PAGE + 6:#x}\t[2J world",
        f"1\t{BASE + 4 * PAGE:#x}\twider",
    ]
    assert run("strings", images, "--least", 0) == 2


def damaged(images: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = images / name
    path.write_bytes(change(path.read_bytes()))


def refused(images: Path) -> BadImage:
    with pytest.raises(BadImage) as caught:
        list(Search(Folder(images), b"x", fixed=True).hits())
    return caught.value


@pytest.mark.parametrize("name", ["mm-1.img", "pagemap-1.img", "pstree.img", "files.img", "pages-1.img"])
def test_truncated(images: Path, name: str) -> None:
    damaged(images, name, lambda data: data[:-3])
    refused(images)


@pytest.mark.parametrize("name", ["mm-1.img", "pagemap-1.img", "pstree.img", "files.img"])
def test_wrong_magic_and_a_length_that_lies(images: Path, name: str) -> None:
    whole = (images / name).read_bytes()
    damaged(images, name, lambda data: data[:4] + b"\1\2\3\4" + data[8:])
    assert "magic" in refused(images).what
    (images / name).write_bytes(whole[:8] + b"\xff\xff\xff\x7f" + whole[12:])
    assert "cut off" in refused(images).what


@pytest.mark.parametrize("name", ["mm-1.img", "pagemap-1.img", "pstree.img", "files.img", "pages-1.img"])
def test_a_link_is_no_image(images: Path, tmp_path: Path, name: str) -> None:
    (images / name).rename(tmp_path / "elsewhere")
    (images / name).symlink_to(tmp_path / "elsewhere")
    refused(images)


def test_parents_in_a_circle(tmp_path: Path) -> None:
    builder = ImageBuilder(tmp_path / "img")
    builder.parent(builder.path)
    builder.process(1, [Vma(BASE, BASE + PAGE)], [Entry(BASE, count=1, flags=PARENT)])
    assert "no end" in refused(builder.finish()).what


@pytest.mark.parametrize(
    "entries",
    [
        [Entry(BASE, b"a" * PAGE), Entry(BASE, b"b" * PAGE)],
        [Entry(BASE + 1, b"a" * PAGE)],
        [Entry(BASE, count=1 << 50)],
        [Entry((1 << 64) - PAGE, count=2, flags=LAZY)],
    ],
)
def test_pagemaps_that_lie(tmp_path: Path, entries: list[Entry]) -> None:
    builder = ImageBuilder(tmp_path / "img")
    builder.process(1, [Vma(BASE, BASE + PAGE)], entries)
    refused(builder.finish())


@pytest.mark.parametrize(
    "mappings",
    [
        [Vma(BASE, BASE + 2 * PAGE), Vma(BASE + PAGE, BASE + 3 * PAGE)],
        [Vma(BASE + PAGE, BASE + 2 * PAGE), Vma(BASE, BASE + PAGE)],
        [Vma(BASE, BASE)],
        [Vma(BASE, BASE + 1)],
    ],
)
def test_mappings_that_lie(tmp_path: Path, mappings: list[Vma]) -> None:
    builder = ImageBuilder(tmp_path / "img")
    builder.process(1, mappings)
    refused(builder.finish())


def test_a_vast_mapping_costs_nothing(tmp_path: Path) -> None:
    builder = ImageBuilder(tmp_path / "img")
    builder.process(1, [Vma(0, (1 << 64) - PAGE)], [Entry(BASE, b"x" * PAGE)])
    folder = Folder(builder.finish())
    assert len(list(Search(folder, b"x" * PAGE, fixed=True).hits())) == 1
    memory = Memory(folder, 1, OpenFiles(folder))
    assert memory.read(BASE, BASE + 2) == b"xx"
