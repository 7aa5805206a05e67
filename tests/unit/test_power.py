"""The tools of tests/power: a log that is written and read, cuts that lose what they may, a judge that can say no."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

from tests.power import cuts
from tests.power.disk_server import ReplayedDisk
from tests.power.facts import Image, Look, Recording
from tests.power.judge import Decision, Judge, Timeline, Window
from tests.power.write_log import SECTOR, Log, Writer

SIZE = 64 * 4096
FIRST, SECOND = "20260101T000000000-aaaaaa", "20260101T000001000-bbbbbb"
STATES = ("frozen", "verdict", "ticketed", "proven", "spent")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Three writes, a flush, then writes over the first and at two other places."""
    writer = Writer(tmp_path / "log")
    for page in range(3):
        writer.write(page * 4096, memoryview(b"a" * 4096))
    writer.flush()
    writer.mark("here")
    writer.write(0, memoryview(b"b" * 8192))
    writer.write(8192, memoryview(b"c" * SECTOR))
    writer.write(40960, memoryview(b"d" * 4096))
    writer.close()
    return Log(tmp_path / "log")


@pytest.fixture
def disk(tmp_path: Path, log: Log) -> ReplayedDisk:
    image = tmp_path / "image"
    image.write_bytes(b"-" * SIZE)
    return ReplayedDisk(image, log)


def test_a_log_gives_back_what_was_written(log: Log) -> None:
    assert [(entry.offset, entry.length) for entry in log.entries if entry.is_write] == [
        *((0, 4096), (4096, 4096), (8192, 4096), (0, 8192), (8192, SECTOR), (40960, 4096))
    ]
    assert log.marks() == [(4, "here")]
    assert cuts.flushes_of(log.entries) == [3]
    assert log.data(log.entries[6]) == b"c" * SECTOR


def test_a_cut_never_loses_what_was_flushed_and_never_has_what_came_later(log: Log) -> None:
    chance = random.Random(1)
    for position in range(len(log.entries) + 1):
        for _ in range(50):
            cut = cuts.cut(log.entries, [3], position, chance)
            assert cut.flushed == (4 if position > 3 else 0)
            assert all(cut.flushed <= number < position for number, _, _ in cut.pieces)
            for number, begin, end in cut.pieces:
                assert 0 <= begin < end <= log.entries[number].length
                assert begin % SECTOR == 0
                assert end % SECTOR == 0


def test_cuts_lose_every_mixture(log: Log) -> None:
    chance = random.Random(1)
    seen = {cuts.cut(log.entries, [3], 8, chance).pieces for _ in range(500)}
    whole = ((5, 0, 8192), (6, 0, SECTOR), (7, 0, 4096))
    for kept in range(8):
        assert tuple(piece for place, piece in enumerate(whole) if kept >> place & 1) in seen
    assert any(end - begin < 8192 for pieces in seen for number, begin, end in pieces if number == 5)


def test_the_same_seed_gives_the_same_cuts(log: Log) -> None:
    first, second = (
        [cuts.cut(log.entries, [3], position, chance) for position in cuts.positions([5], 0, 8, 40, chance)]
        for chance in (random.Random(3), random.Random(3))
    )
    assert first == second


def test_a_replayed_disk_is_what_a_cut_says(disk: ReplayedDisk) -> None:
    disk.cut(4, [(5, 0, 4096), (6, 0, SECTOR)])
    assert disk.read(0, 4096) == b"b" * 4096
    assert disk.read(4096, 4096) == b"a" * 4096
    assert disk.read(8192, 4096) == b"c" * SECTOR + b"a" * (4096 - SECTOR)
    assert disk.read(40960, 4096) == b"-" * 4096


def test_what_is_written_to_a_cut_is_forgotten_at_the_next(disk: ReplayedDisk) -> None:
    disk.cut(4, [])
    disk.write(100, memoryview(b"x" * 8000))
    assert disk.read(99, 8002) == b"a" + b"x" * 8000 + b"a"
    disk.cut(4, [])
    assert disk.read(0, 12288) == b"a" * 12288
    with pytest.raises(OSError, match="forward"):
        disk.cut(0, [])


def timeline() -> Timeline:
    """Two rounds: a mark every hundred entries."""
    said = ["begin", "reboot"]
    for checkpoint, more in ((FIRST, ["resumed", "counted", "checkpoint"]), (SECOND, ["resumed", "end"])):
        said += [f"ledger {state} {checkpoint}" for state in STATES[:2]]
        said += ["saved"]
        said += [f"ledger {state} {checkpoint}" for state in STATES[2:]]
        said += more
    return Timeline([(number * 100, text) for number, text in enumerate(said)])


RECORDING = Recording("c" * 64, {FIRST: Image({"a": "1"}, "p", 7), SECOND: Image({"a": "2"}, "p", 9)})
GOOD = Look(
    held=True,
    pending=FIRST,
    waits=True,
    stale="",
    newest=FIRST,
    state="killed",
    image={"a": "1"},
    steps={"unsynced": ("p", 7), "synced": ("p", 6)},
)
SAVED = 450


def test_a_timeline_knows_its_windows_and_promises() -> None:
    line = timeline()
    assert line.checkpoints == [FIRST, SECOND]
    assert [line.window(at) for at in (50, 250, 350, 450, 550, 750, 850)] == [
        *(Window.BEFORE, Window.DUMPING, Window.COMMITTED, Window.SAVED, Window.RESTORING),
        *(Window.SPENT, Window.RESUMED),
    ]
    assert [line.promised(at) for at in (350, 450, 550, 650)] == ["", FIRST, FIRST, ""]
    assert line.promised(1350) == SECOND


def test_a_judge_is_content_with_what_is_right() -> None:
    seen = Judge(RECORDING, timeline()).judge(GOOD, SAVED)
    assert seen == dataclasses.replace(seen, decision=Decision.RESTORE, checkpoint=FIRST, problems=())


@pytest.mark.parametrize(
    ("changed", "position", "problem"),
    [
        ({"image": {"a": "0"}}, SAVED, "image"),
        ({"image": {}}, SAVED, "image"),
        ({"image": {"a": "1", "b": "1"}}, SAVED, "image"),
        ({"pending": "elsewhere"}, SAVED, "image"),
        ({"steps": {"unsynced": ("p", 5), "synced": ("p", 7)}}, SAVED, "memory is ahead"),
        ({"steps": {"unsynced": ("p", 7), "synced": ("p", 5)}}, SAVED, "memory is ahead"),
        ({"steps": {"unsynced": ("p", 8), "synced": ("p", 7)}}, SAVED, "ran twice"),
        ({"steps": {"unsynced": ("q", 7), "synced": ("p", 7)}}, SAVED, "volume"),
        ({"held": False}, SAVED, "hold"),
        ({"waits": False, "pending": "", "held": False}, SAVED, "lost"),
        ({"waits": False}, SAVED, "lost"),
        ({"stale": "changed"}, SAVED, "lost"),
        ({"stale": "changed"}, SAVED, "reason"),
        ({}, 850, "ran twice"),
        ({"waits": False, "pending": "", "held": False, "state": "spent"}, 350, "reason"),
        ({"waits": False, "pending": "", "held": False, "state": "durable"}, 750, "reason"),
    ],
)
def test_a_judge_says_what_is_wrong(changed: dict[str, object], position: int, problem: str) -> None:
    look = dataclasses.replace(GOOD, **changed)  # type: ignore[arg-type]
    seen = Judge(RECORDING, timeline()).judge(look, position)
    assert problem in {text.partition(":")[0] for text in seen.problems}
