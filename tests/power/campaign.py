"""One campaign: record a guardian, replay cuts, boot some of them, say what was seen."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path

from tests.machines import disk
from tests.power import cuts, variants
from tests.power.booted import Booted, boot
from tests.power.judge import Decision, Judge, Timeline, Window
from tests.power.recording import Cycle, record
from tests.power.root import looking
from tests.power.served_host import ServedHost
from tests.power.variants import Variant
from tests.power.write_log import Log

_CYCLE = {
    # A comparison of the files that it has open would notice as well that it has run, or that they are older.
    Variant.WITHOUT_SPENT: Cycle.REBOOT,
    Variant.SPENT_NOT_FLUSHED: Cycle.WHOLE_UNCOMPARED,
    Variant.WITHOUT_SYNC: Cycle.WHOLE_UNCOMPARED,
}


@dataclasses.dataclass(frozen=True)
class Found:
    """One cut that showed something wrong."""

    position: int
    window: Window
    kept: cuts.Kept
    decision: Decision
    problem: str

    def __str__(self) -> str:
        where = f"entry {self.position} ({self.window.value}; kept: {self.kept.value})"
        return f"{where}: {self.decision.value}: {self.problem}"


@dataclasses.dataclass(frozen=True)
class Start:
    """One cut that was booted to the end."""

    position: int
    window: Window
    decision: Decision
    booted: Booted


@dataclasses.dataclass(frozen=True)
class Campaign:
    """What was seen."""

    variant: Variant
    commit: str
    seed: int
    entries: int
    flushes: int
    megabytes: int
    counts: Mapping[tuple[Window, Decision], int]
    lossy: int
    """Cuts in which at least one write was lost."""
    found: tuple[Found, ...]
    starts: tuple[Start, ...]

    @property
    def cuts(self) -> int:
        """How many cuts were looked at."""
        return sum(self.counts.values())


def run(variant: Variant, scratch: Path, *, count: int, boots: int, seed: int) -> Campaign:
    """Record and replay; `scratch` is an empty folder."""
    commit = variants.commit()
    (scratch / "source").mkdir()
    source = variants.source(variant, scratch / "source")
    package = variants.package(source, scratch / "deb")
    with contextlib.closing(ServedHost()) as host:
        recording = record(host, package, _CYCLE.get(variant, Cycle.WHOLE))
        log = Log(host.log)
        timeline = Timeline(log.marks())
        judge = Judge(recording, timeline)
        chance = random.Random(seed)
        chosen = _choose(log, timeline, count, chance)
        booted = _to_boot(chosen, timeline, boots, chance)
        counts: collections.Counter[tuple[Window, Decision]] = collections.Counter()
        found: list[Found] = []
        starts: list[Start] = []
        image = host.folder / disk.IMAGE
        with host.serving("replay", image), looking(host, source) as looker:
            for number, cut in enumerate(chosen):
                host.cut(cut)
                seen = judge.judge(looker.look(), cut.position)
                window = timeline.window(cut.position)
                counts[window, seen.decision] += 1
                found += [
                    Found(cut.position, window, cut.kept, seen.decision, text) for text in seen.problems
                ]
                if number in booted:
                    host.cut(cut)
                    starts.append(Start(cut.position, window, seen.decision, boot(host, recording, seen)))
        log.close()
    return Campaign(
        variant,
        commit,
        seed,
        len(log.entries),
        len(cuts.flushes_of(log.entries)),
        sum(entry.length for entry in log.entries) >> 20,
        counts,
        sum(cut.lost > 0 for cut in chosen),
        tuple(found),
        tuple(starts),
    )


def _choose(log: Log, timeline: Timeline, count: int, chance: random.Random) -> list[cuts.Cut]:
    flushes = cuts.flushes_of(log.entries)
    positions = cuts.positions(timeline.interesting, timeline.begin + 1, timeline.end, count, chance)
    return [cuts.cut(log.entries, flushes, position, chance) for position in positions]


def _to_boot(chosen: list[cuts.Cut], timeline: Timeline, boots: int, chance: random.Random) -> frozenset[int]:
    """Which cuts to boot: as many of each window as there are."""
    by_window: dict[Window, list[int]] = {}
    for number, cut in enumerate(chosen):
        by_window.setdefault(timeline.window(cut.position), []).append(number)
    booted: set[int] = set()
    pools = [chance.sample(numbers, len(numbers)) for numbers in by_window.values()]
    while len(booted) < boots and any(pools):
        for pool in pools:
            if pool and len(booted) < boots:
                booted.add(pool.pop())
    return frozenset(booted)
