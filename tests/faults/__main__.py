"""`make test-faults`: run the cells that this commit has no result for with this seed, and print the table.

Environment: JOBS (hosts side by side), SEED (which member of the group is struck), ONLY (a regular expression of
"STEP / FAULT / TRIGGER"), MINUTES (stop in time; the next run goes on), AGAIN=1 (run what has failed once more).
The table goes to dist/faults.md too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.bench import Bench
from tests.faults.host import FaultHost
from tests.faults.results import Results, commit, summary, table
from tests.faults.runner import Run
from tests.faults.steps import Cell, cells, impossible
from tests.machines.recipes import known_suites

_REPOSITORY = Path(__file__).resolve().parents[2]
_MOST = 6000
_TABLE = _REPOSITORY / "dist" / "faults.md"


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


def run_on_one_host(package: Path, todo: list[Cell], results: Results, end: float) -> None:
    """Take cells off the list until one fails, which costs the host, or the list or the time is over."""
    with FaultHost(known_suites()[0]) as host:
        print(f"{host.name}: {len(todo)} cells to run", flush=True)
        bench = Bench(host, package)
        try:
            while time.monotonic() < end and (cell := _next(todo)) is not None:
                found = Run(bench, cell, results.seed).run()
                results.add(cell, found)
                shown = ", ".join(f"{name} {outcome}" for name, outcome in found.outcomes.items())
                print(
                    f"{cell}: {found.verdict or 'ok'}; {shown} ({found.seconds} s: {found.phases})",
                    flush=True,
                )
                if found.verdict:
                    # The console has what units said on the way down, which the journal may not have kept.
                    print(host.console_text()[-_MOST:], bench.site.told() if host.is_up else "", flush=True)
                    return
        finally:
            bench.close()


def _next(todo: list[Cell]) -> Cell | None:
    """The first cell of the list, taken off it; another lane takes from it as well."""
    try:
        return todo.pop(0)
    except IndexError:
        return None


def lane(packages: Path, todo: list[Cell], results: Results, end: float) -> None:
    """One host after the other."""
    while todo and time.monotonic() < end:
        run_on_one_host(next(packages.glob("*.deb")), todo, results, end)


def main() -> int:
    """Build the package, run what is missing, print; 1 where anything failed or is still missing."""
    results = Results(commit(), int(os.environ.get("SEED", "1")))
    end = time.monotonic() + 60 * float(os.environ.get("MINUTES", "600"))
    todo = missing(results)
    with tempfile.TemporaryDirectory() as folder:
        if todo:
            build = [str(_REPOSITORY / "packaging" / "build.sh"), folder]
            subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        jobs = int(os.environ.get("JOBS", "1"))
        with ThreadPoolExecutor(jobs) as pool:
            lanes = [pool.submit(lane, Path(folder), todo, results, end) for _ in range(jobs)]
            try:
                for done in lanes:
                    done.result()
            except KeyboardInterrupt:
                todo.clear()  # each lane ends with the cell that it is at
                raise
    found = results.read()
    told = f"Commit {results.commit}, {time.strftime('%F')}.\n\n{summary(found)}\n\n{table(found)}\n"
    _TABLE.parent.mkdir(exist_ok=True)
    _TABLE.write_text(told)
    print(f"\n{told}")
    return 1 if missing(results) or any(data["verdict"] for data in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
