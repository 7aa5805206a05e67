"""Results of cells: a line of JSON each in a file of the cache, one for a commit and a seed; a run goes on there."""

from __future__ import annotations

import collections
import dataclasses
import fcntl
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.runner import Found
from tests.faults.steps import FAULTS, STEPS, Cell, Floor, Trigger, cells, floor, impossible
from tests.machines import cache

_REPOSITORY = Path(__file__).resolve().parents[2]


def commit() -> str:
    """The commit that is tried, with `-changed` where the checkout is not it."""
    git = ["git", "-C", str(_REPOSITORY)]
    here = subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True).strip()
    changed = subprocess.check_output([*git, "status", "--porcelain", "--untracked-files=no"], text=True)
    return f"{here}-changed" if changed.strip() else here


class Results:
    """The results of one commit with one seed."""

    def __init__(self, of: str, seed: int) -> None:
        self.commit, self.seed = of, seed
        folder = cache.folder("faults")
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{of}-{seed}.jsonl"

    def read(self) -> dict[Cell, dict[str, Any]]:
        """The last result of each cell."""
        found = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                data = json.loads(line)
                found[Cell(data["step"], data["fault"], data["trigger"])] = data
        return found

    def add(self, cell: Cell, found: Found) -> None:
        """Write one down; two hosts may at once."""
        line = (
            {"commit": self.commit, "seed": self.seed} | dataclasses.asdict(cell) | dataclasses.asdict(found)
        )
        with self.path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(line) + "\n")


def _shown(cell: Cell, data: Mapping[str, Any] | None) -> str:
    if impossible(cell):
        return "cannot be"
    if data is None:
        return "not run"
    if data["verdict"]:
        return "**failed**"
    counted = collections.Counter(data["outcomes"].values())
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(counted.items()))


def table(found: Mapping[Cell, Mapping[str, Any]]) -> str:
    """For each trigger: steps down, faults across."""
    parts = []
    for trigger in Trigger:
        names = [name for name, fault in FAULTS.items() if trigger in fault.triggers]
        if not names:
            continue
        rows = [f"| {trigger.value} | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        for step in STEPS:
            row = [Cell(step, name, trigger.value) for name in names]
            if not all(impossible(cell) for cell in row):
                rows.append(f"| {step} | {' | '.join(_shown(cell, found.get(cell)) for cell in row)} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _share(name: str, of: Sequence[Mapping[str, Any]]) -> str:
    """How many cells kept a floor, and how many of their containers were not cold."""
    kept = sum(not data["verdict"] for data in of)
    outcomes = [outcome for data in of for outcome in data["outcomes"].values()]
    warm = sum(outcome != "cold" for outcome in outcomes)
    return (
        f'Floor "{name}": kept in {kept} of {len(of)} cells; '
        f"{warm} of {len(outcomes)} containers resumed or ran on."
    )


def summary(found: Mapping[Cell, Mapping[str, Any]]) -> str:
    """Counts, seeds, and each floor's share."""
    possible = [cell for cell in cells() if not impossible(cell)]
    run = {cell: found[cell] for cell in possible if cell in found}
    failed = [cell for cell, data in run.items() if data["verdict"]]
    outcomes = collections.Counter(item for data in run.values() for item in data["outcomes"].values())
    lines = [
        f"{len(run)} of {len(possible)} cells run, {len(failed)} failed; {len(cells()) - len(possible)} cannot be.",
        f"Seeds: {', '.join(sorted({str(data['seed']) for data in run.values()}))}.",
        f"Containers: {', '.join(f'{number} {outcome}' for outcome, number in sorted(outcomes.items()))}.",
    ]
    lines += [_share(name.value, [run[cell] for cell in run if floor(cell) is name]) for name in Floor]
    lines += [f"Failed: {cell}: {run[cell]['verdict'].splitlines()[0]}" for cell in failed]
    return "\n".join(lines)
