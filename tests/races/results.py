"""Results of races: a line of JSON each in a file of the cache, one file a commit; a run goes on where one stopped."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping

from tests.faults.steps import STEPS
from tests.machines import cache
from tests.races.acts import ACTS, TRIGGERS, Race

FAILED = "FAILED"


class Results:
    """The results of one commit."""

    def __init__(self, of: str) -> None:
        folder = cache.folder("races")
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{of}.jsonl"

    def read(self) -> dict[Race, str]:
        """The last result of each race: how it ended, or FAILED and why."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        rows = [json.loads(line) for line in lines]
        return {Race(row["step"], row["act"], row["trigger"]): row["said"] for row in rows}

    def add(self, race: Race, *, number: int, said: str) -> None:
        """Write one down; two hosts may at once."""
        row = {"step": race.step, "act": race.act, "trigger": race.trigger, "struck": number, "said": said}
        with self._path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(row) + "\n")


def table(found: Mapping[Race, str]) -> str:
    """For each trigger: steps down, acts across."""
    parts = []
    for trigger in TRIGGERS:
        rows = [f"| {trigger.value} | {' | '.join(ACTS)} |", f"|---|{'---|' * len(ACTS)}"]
        for step in STEPS:
            said = [found.get(Race(step, act, trigger.value), "not run") for act in ACTS]
            shown = ["**failed**" if item.startswith(FAILED) else item for item in said]
            rows.append(f"| {step} | {' | '.join(shown)} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)
