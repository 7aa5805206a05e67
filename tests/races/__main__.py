"""`make test-races`: every act of a user at every step.

Environment: ONLY ("STEP / ACT / TRIGGER"), MINUTES, SEED (who of the three is struck), JOBS (hosts side by side).
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
from tests.faults.results import commit
from tests.machines.errors import MachineError
from tests.machines.recipes import known_suites
from tests.races.acts import Race, races
from tests.races.runner import Runner

_REPOSITORY = Path(__file__).resolve().parents[2]


def on_one_host(package: Path, todo: list[tuple[int, Race]], results: dict[Race, str], end: float) -> None:
    """Run races until one fails, which costs the host, or all are done."""
    with FaultHost(known_suites()[0]) as host:
        bench = Bench(host, package)
        runner = Runner(bench)
        try:
            while time.monotonic() < end and (taken := _next(todo)) is not None:
                (number, race), begun = taken, time.monotonic()
                try:
                    results[race] = runner.run(race, number=number).value
                except (AssertionError, MachineError, OSError, KeyError, ValueError) as error:
                    results[race] = f"FAILED: {error}"
                    print(bench.site.told() if host.is_up else "", flush=True)
                print(f"{race}: {results[race]} ({time.monotonic() - begun:.1f} s)", flush=True)
                if results[race].startswith("FAILED"):
                    return
        finally:
            bench.close()


def _next(todo: list[tuple[int, Race]]) -> tuple[int, Race] | None:
    """The first of the list, taken off it; another lane takes from it as well."""
    try:
        return todo.pop(0)
    except IndexError:
        return None


def _lane(packages: Path, todo: list[tuple[int, Race]], results: dict[Race, str], end: float) -> None:
    """One host after the other."""
    while todo and time.monotonic() < end:
        on_one_host(next(packages.glob("*.deb")), todo, results, end)


def main() -> int:
    """Run, print a table, 1 where anything failed or was left out."""
    wanted = re.compile(os.environ.get("ONLY", ""))
    seed = int(os.environ.get("SEED", "1"))
    todo = [((seed + place) % 3, race) for place, race in enumerate(races()) if wanted.search(str(race))]
    results: dict[Race, str] = {}
    every = len(todo)
    end = time.monotonic() + 60 * float(os.environ.get("MINUTES", "600"))
    jobs = int(os.environ.get("JOBS", "1"))
    with tempfile.TemporaryDirectory() as folder:
        build = [str(_REPOSITORY / "packaging" / "build.sh"), folder]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        with ThreadPoolExecutor(jobs) as pool:
            for lane in [pool.submit(_lane, Path(folder), todo, results, end) for _ in range(jobs)]:
                lane.result()
    failed = [race for race, said in results.items() if said.startswith("FAILED")]
    print(f"\nCommit {commit()}: {len(results)} of {every} races run, {len(failed)} failed.")
    for race in failed:
        print(f"{race}: {results[race].splitlines()[0]}")
    return 1 if failed or len(results) < every else 0


if __name__ == "__main__":
    sys.exit(main())
