"""Search against a naive search over the memory as a whole, over seams, zeros, parents and shared memory."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.host import chain
from guardian.host.images import scanning
from guardian.host.images.folder import Folder
from guardian.host.images.search import Hit, Pattern, Search
from guardian.model import steps
from guardian.model.errors import BadInput
from tests.unit.image_builder import LAZY, PAGE, PARENT, Entry, ImageBuilder, Vma

BASE = 0x10000
NEEDLE = b"needle in memory"


def page(text: bytes = b"", at: int = 0, fill: bytes = b".") -> bytes:
    return (fill * at + text).ljust(PAGE, fill)[:PAGE]


def search(folder: Path, pattern: bytes, *, fixed: bool = True, pid: int | None = None) -> list[Hit]:
    return list(Search(Folder(folder), pattern, fixed=fixed, pid=pid, context=4).hits())


def addresses(folder: Path, pattern: bytes, *, fixed: bool = True) -> list[tuple[int, int]]:
    return sorted((hit.pid, hit.address) for hit in search(folder, pattern, fixed=fixed))


def one(folder: Path, mappings: Sequence[Vma], entries: Sequence[Entry]) -> Path:
    builder = ImageBuilder(folder)
    builder.process(1, mappings, entries)
    return builder.finish()


def test_context_and_mapping(tmp_path: Path) -> None:
    folder = one(tmp_path / "img", [Vma(BASE, BASE + PAGE, "heap")], [Entry(BASE, page(NEEDLE, at=100))])
    (hit,) = search(folder, NEEDLE)
    assert (hit.pid, hit.address, hit.matched) == (1, BASE + 100, NEEDLE)
    assert (hit.before, hit.after) == (b"....", b"....")
    assert (hit.mapping.kind, hit.name) == ("heap", "[heap]")


def test_utf16_and_hex(tmp_path: Path) -> None:
    text = "wide text".encode("utf-16-le")
    folder = one(tmp_path / "img", [Vma(BASE, BASE + PAGE)], [Entry(BASE, page(text, at=7))])
    assert addresses(folder, Pattern.UTF16.bytes_of("wide text")) == [(1, BASE + 7)]
    assert addresses(folder, Pattern.HEX.bytes_of("77 00 69")) == [(1, BASE + 7)]
    with pytest.raises(BadInput):
        Pattern.HEX.bytes_of("7")


def test_side_by_side_in_the_file_only(tmp_path: Path) -> None:
    half = len(NEEDLE) // 2
    left, right = page(NEEDLE[:half], at=PAGE - half), page(NEEDLE[half:])
    far = BASE + 64 * PAGE
    folder = one(
        tmp_path / "img",
        [Vma(BASE, BASE + PAGE), Vma(far, far + PAGE)],
        [Entry(BASE, left), Entry(far, right)],
    )
    assert search(folder, NEEDLE) == []
    assert search(folder, NEEDLE, fixed=False) == []


def test_side_by_side_in_memory_only(tmp_path: Path) -> None:
    """Across a parent, and across two mappings."""
    half = len(NEEDLE) // 2
    left, right = page(NEEDLE[:half], at=PAGE - half), page(NEEDLE[half:])
    mappings = [Vma(BASE, BASE + PAGE), Vma(BASE + PAGE, BASE + 2 * PAGE, protection=1)]
    grandparent = one(tmp_path / "a", mappings, [Entry(BASE + PAGE, right), Entry(BASE, page())])
    middle = ImageBuilder(tmp_path / "b")
    middle.parent(grandparent)
    middle.process(1, mappings, [Entry(BASE, page()), Entry(BASE + PAGE, count=1, flags=PARENT)])
    middle.finish()
    child = ImageBuilder(tmp_path / "c")
    child.parent(middle.path)
    child.process(1, mappings, [Entry(BASE, left), Entry(BASE + PAGE, count=1, flags=PARENT)])
    folder = child.finish()
    for fixed in (True, False):
        assert addresses(folder, NEEDLE, fixed=fixed) == [(1, BASE + PAGE - half)]


def test_absent_pages_are_zero_but_not_those_of_files(tmp_path: Path) -> None:
    entries = [Entry(BASE, page(b"x", at=PAGE - 1)), Entry(BASE + 2 * PAGE, page(b"y"))]
    zeros = rb"x\x00{4096}y"
    for kind, found in (("anonymous", 1), ("file", 0), ("vvar", 0)):
        folder = one(tmp_path / kind, [Vma(BASE, BASE + 3 * PAGE, kind)], entries)
        assert len(search(folder, zeros, fixed=False)) == found


def test_vast_absence_is_not_searched(tmp_path: Path) -> None:
    end = BASE + (1 << 46)
    entries = [Entry(BASE, page(b"x", at=PAGE - 1)), Entry(end - PAGE, page(b"y"))]
    folder = one(tmp_path / "img", [Vma(BASE, end)], entries)
    assert addresses(folder, rb"x\x00{4096}", fixed=False) == [(1, BASE + PAGE - 1)]
    assert addresses(folder, rb"\x00{4096}y", fixed=False) == [(1, end - 2 * PAGE)]


def test_lazy_pages_are_named(tmp_path: Path) -> None:
    folder = one(
        tmp_path / "img",
        [Vma(BASE, BASE + 3 * PAGE)],
        [
            Entry(BASE, page(NEEDLE)),
            Entry(BASE + PAGE, count=1, flags=LAZY),
            Entry(BASE + 2 * PAGE, page()),
        ],
    )
    found = Search(Folder(folder), NEEDLE, fixed=True)
    assert [hit.address for hit in found.hits()] == [BASE]
    assert [(item.pid, item.address, item.length) for item in found.missing] == [(1, BASE + PAGE, PAGE)]


def test_shared_memory_is_told_of_each_who_has_it(tmp_path: Path) -> None:
    builder = ImageBuilder(tmp_path / "img")
    builder.shared(77, [Entry(0, page()), Entry(PAGE, page(NEEDLE, at=8)), Entry(2 * PAGE, page())])
    builder.shared(78, [Entry(0, page(NEEDLE))])
    builder.memfd(5, 78, "buffer")
    builder.process(1, [Vma(BASE, BASE + 3 * PAGE, "shared", 77)])
    builder.process(
        2,
        [
            Vma(BASE, BASE + PAGE, "shared", 77, offset=PAGE),
            Vma(8 * BASE, 8 * BASE + PAGE, "shared", 77),
            Vma(9 * BASE, 9 * BASE + PAGE, "memfd", 5),
            Vma(10 * BASE, 10 * BASE + PAGE, "sysv", 78),
        ],
    )
    folder = builder.finish()
    hits = {(hit.pid, hit.address, hit.name) for hit in search(folder, NEEDLE)}
    assert hits == {
        (1, BASE + PAGE + 8, "[shared]"),
        (2, BASE + 8, "[shared]"),
        (2, 9 * BASE, "memfd:buffer"),
        (2, 10 * BASE, "[sysv]"),
    }
    assert {hit.pid for hit in search(folder, NEEDLE, pid=1)} == {1}


def test_shared_memory_is_scanned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = ImageBuilder(tmp_path / "img")
    builder.shared(77, [Entry(0, page(NEEDLE) * 8)])
    for pid in range(1, 20):
        builder.process(pid, [Vma(BASE, BASE + 8 * PAGE, "shared", 77)])
    scanned: list[int] = []
    original = scanning.Scanner._search

    def counting(self: scanning.Scanner, matcher: object, span: scanning.Span, most: int) -> scanning.Found:
        scanned.append(span.end - span.begin)
        return original(self, matcher, span, most)  # type: ignore[arg-type] # passed on as it is

    monkeypatch.setattr(scanning.Scanner, "_search", counting)
    assert len(search(builder.finish(), NEEDLE)) == 19 * 8
    assert sum(scanned) == 8 * PAGE


def test_a_mapping_that_was_split_shows_matches_over_the_split(tmp_path: Path) -> None:
    builder = ImageBuilder(tmp_path / "img")
    builder.shared(77, [Entry(0, page(NEEDLE[:4], at=PAGE - 4) + page(NEEDLE[4:]))])
    split = [
        Vma(BASE, BASE + PAGE, "shared", 77),
        Vma(BASE + PAGE, BASE + 2 * PAGE, "shared", 77, offset=PAGE),
    ]
    builder.process(1, split)
    builder.process(2, [split[0], Vma(9 * BASE, 9 * BASE + PAGE, "shared", 77, offset=PAGE)])
    assert addresses(builder.finish(), NEEDLE) == [(1, BASE + PAGE - 4)]


def test_long_matches_are_cut(tmp_path: Path) -> None:
    size = 40 * PAGE
    folder = one(tmp_path / "img", [Vma(BASE, BASE + size)], [Entry(BASE, b"a" * size)])
    lengths = [len(hit.matched) for hit in search(folder, b"a+", fixed=False)]
    assert lengths == [65536, 65536, size - 2 * 65536]


def slow(folder: Path) -> Path:
    """Memory that a nested repetition tries in ever new ways, with what it needs at the end."""
    text = (b"a" * 3000 + b"!bczz").ljust(PAGE, b"!") * 16
    return one(folder / "img", [Vma(BASE, BASE + len(text))], [Entry(BASE, text)])


@pytest.mark.parametrize("expression", [rb"(a+)+b", rb"(a|aa)+c", rb"((?:a*)*b|(?:aa?)*zz)"])
def test_a_hostile_expression_comes_to_an_end(tmp_path: Path, expression: bytes) -> None:
    with pytest.raises(BadInput, match="takes too long"):
        search(slow(tmp_path), expression, fixed=False)


def test_a_thread_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "PATIENCE", 0.05)
    with pytest.raises(BadInput, match="more than 0 s"):
        search(slow(tmp_path), rb"[^Q]*[^R]*zz[bx]", fixed=False)


@pytest.mark.parametrize("expression", [b"", b"((", b"[", b"(?<=a*)b", b"(*UTF)a"])
def test_expressions_that_do_not_parse(tmp_path: Path, expression: bytes) -> None:
    folder = one(tmp_path / "img", [Vma(BASE, BASE + PAGE)], [Entry(BASE, page())])
    with pytest.raises(BadInput):
        search(folder, expression, fixed=False)


FIRST, COUNT = BASE // PAGE, 14
SIZES = {"MOST_MATCH": 700, "_WINDOW": 9000, "_WORTH": 1000, "_SPAN": 6000, "_MOST_FOUND": 40}
EXPRESSIONS = (
    *(rb"ab+c", rb"[ab]+", rb"\x00+", rb"(?<=a)b+", rb"b(?=c)", rb"a.{3,600}b", rb"a[^c]{650,2000}c"),
    *(rb"c\x00{4000}|c\x00*c", rb"(?:abc)+", rb"(?s)a.*?c", rb"\Bb\b", rb"a\x00*b"),
)
FIXED = (b"abc", b"a", b"bb", b"c\0\0", b"\0a", b"abcabcabcabc")

pieces = st.lists(st.sampled_from([b"abc", b"a", b"bb", b"\0" * 9, b"c" * 30, b"abc" * 400]), max_size=5)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A page with something at its beginning and its end."""
    head, tail = b"".join(draw(pieces)), b"".join(draw(pieces))
    middle = draw(st.sampled_from([b"\0", b"a", b"x", b"\n"]))
    return (head[:2000].ljust(PAGE - len(tail[:2000]), middle) + tail[:2000])[:PAGE]


def test_steps_that_were_written_ahead(tmp_path: Path) -> None:
    """As guardian has them: inside the folder of the last step."""
    mappings, images = [Vma(BASE, BASE + 3 * PAGE)], tmp_path / "img"
    last = ImageBuilder(images)
    for number, entries in (
        (1, [Entry(BASE, page(NEEDLE, at=1)), Entry(BASE + PAGE, page(NEEDLE, at=2))]),
        (2, [Entry(BASE, count=1, flags=PARENT), Entry(BASE + PAGE, page(NEEDLE, at=3))]),
    ):
        step = ImageBuilder(images / steps.name(number))
        step.process(1, mappings, entries)
        step.finish()
    last.process(1, mappings, [Entry(BASE, count=2, flags=PARENT), Entry(BASE + 2 * PAGE, page())])
    last.finish()
    chain.make_links(images)
    assert addresses(images, NEEDLE) == [(1, BASE + 1), (1, BASE + PAGE + 3)]
    sizes = Folder(images).sizes()
    assert sum(size for name, size in sizes.items() if "pages-" in name) == 4 * PAGE
    assert sizes["pre-2/pages-1.img"] == PAGE


states = st.sampled_from(["here", "here", "here", "parent", "absent", "lazy", "unmapped"])


@given(st.lists(st.tuples(states, contents()), min_size=1, max_size=COUNT), st.booleans(), st.data())
def test_as_a_naive_search(pages: list[tuple[str, bytes]], fixed: bool, data: st.DataObject) -> None:
    pattern = data.draw(st.sampled_from(FIXED if fixed else EXPRESSIONS))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name, value in SIZES.items():
            patch.setattr(scanning, name, value)
        images = built(Path(folder), pages)
        found = [(hit.address, hit.matched) for hit in search(images, pattern, fixed=fixed)]
    reach = 1 << 30 if fixed else SIZES["MOST_MATCH"]
    expression = re.compile(re.escape(pattern) if fixed else pattern)
    assert found == [hit for start, text in known(pages) for hit in naive(expression, start, text, reach)]


def built(folder: Path, pages: Sequence[tuple[str, bytes]]) -> Path:
    """The images of these pages, each a mapping of its own; those of the parent in another order."""
    placed = [(BASE + number * PAGE, *item) for number, item in enumerate(pages)]
    mappings = [Vma(address, address + PAGE) for address, state, _ in placed if state != "unmapped"]
    before = [Entry(address, text) for address, state, text in placed if state == "parent"]
    parent = one(folder / "parent-images", mappings, before[::-1])
    child = ImageBuilder(folder / "img")
    child.parent(parent)
    flags = {"parent": PARENT, "lazy": LAZY}
    child.process(
        1,
        mappings,
        [
            Entry(address, text) if state == "here" else Entry(address, count=1, flags=flags[state])
            for address, state, text in placed
            if state not in ("absent", "unmapped")
        ],
    )
    return child.finish()


def known(pages: Sequence[tuple[str, bytes]]) -> list[tuple[int, bytes]]:
    """Memory as a whole, as (address, bytes); where there is nothing but zeros there is nothing to search."""
    whole: list[tuple[int, bytes]] = []
    joined = False
    for number, (state, text) in enumerate(pages):
        if state in ("lazy", "unmapped"):
            joined = False
            continue
        content = bytes(PAGE) if state == "absent" else text
        if joined:
            whole[-1] = (whole[-1][0], whole[-1][1] + content)
        else:
            whole.append((BASE + number * PAGE, content))
        joined = True
    there = {BASE + number * PAGE for number, (state, _) in enumerate(pages) if state in ("here", "parent")}
    return [(start, text) for start, text in whole if there & set(range(start, start + len(text), PAGE))]


def naive(expression: re.Pattern[bytes], start: int, text: bytes, reach: int) -> list[tuple[int, bytes]]:
    """As the definition has it: leftmost, not overlapping, no more than so many bytes seen behind the beginning."""
    found = []
    position = 0
    while match := expression.search(text, position):
        begin = match.start()
        if match.end() - begin > reach:
            match = expression.match(text, begin, begin + reach)
        if match is None or match.end() == begin:
            position = begin + 1
            continue
        found.append((start + begin, match[0]))
        position = match.end()
    return found
