"""`make test-faults`: run the cells that this commit has no result for, and print the table.

Environment: SEED (which member of the group is struck), ONLY (a regular expression of "STEP / FAULT / TRIGGER"),
MINUTES (stop in good time; the next run goes on), AGAIN=1 (what has failed is run once more).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.bench import Bench
from tests.faults.host import FaultHost
from tests.faults.results import Results, commit, summary, table
from tests.faults.runner import Run
from tests.faults.steps import Cell, cells, impossible
from tests.machines.recipes import known_suites

_REPOSITORY = Path(__file__).resolve().parents[2]


def missing(results: Results) -> list[Cell]:
    """The cells to run, in the order of the table."""
    known = results.read()
    wanted = re.compile(os.environ.get("ONLY", ""))
    again = os.environ.get("AGAIN") == "1"
    return [
        cell
        for cell in cells()
        if not impossible(cell)
        and wanted.search(str(cell))
        and (cell not in known or (again and known[cell]["verdict"]))
    ]


def run_on_one_host(package: Path, todo: list[Cell], results: Results, seed: int, end: float) -> None:
    """Take cells off the list until one fails, which costs the host, or the list or the time is over."""
    with FaultHost(known_suites()[0]) as host:
        bench = Bench(host, package)
        try:
            while todo and time.monotonic() < end:
                cell = todo.pop(0)
                found = Run(bench, cell, seed).run()
                results.add(cell, seed, found)
                shown = ", ".join(f"{name} {outcome}" for name, outcome in found.outcomes.items())
                print(
                    f"{cell}: {found.verdict or 'ok'}; {shown} ({found.seconds} s: {found.phases})",
                    flush=True,
                )
                if found.verdict:
                    if host.is_up:
                        print(bench.site.told(), flush=True)
                    return
        finally:
            bench.close()


def main() -> int:
    """Build the package, run what is missing, print; 1 where anything failed or is still missing."""
    results = Results(commit())
    seed = int(os.environ.get("SEED", "1"))
    end = time.monotonic() + 60 * float(os.environ.get("MINUTES", "600"))
    todo = missing(results)
    with tempfile.TemporaryDirectory() as folder:
        if todo:
            build = [str(_REPOSITORY / "packaging" / "build.sh"), folder]
            subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        while todo and time.monotonic() < end:
            run_on_one_host(next(Path(folder).glob("*.deb")), todo, results, seed, end)
    found = results.read()
    print(f"\nCommit {results.commit}\n\n{table(found)}\n\n{summary(found)}")
    return 1 if missing(results) or any(data["verdict"] for data in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
