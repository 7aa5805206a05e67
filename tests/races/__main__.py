"""`make test-races`: every act of a user at every step, those that this commit has no good result for.

Environment: ONLY ("STEP / ACT / TRIGGER"), MINUTES, SEED (who of the three is struck), JOBS (hosts side by side).
The table goes to dist/races.md too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.bench import Bench
from tests.faults.host import FaultHost
from tests.faults.results import commit
from tests.machines.errors import MachineError
from tests.machines.recipes import known_suites
from tests.races.acts import Race, races
from tests.races.results import FAILED, Results, table
from tests.races.runner import Runner

_REPOSITORY = Path(__file__).resolve().parents[2]
_TABLE = _REPOSITORY / "dist" / "races.md"


def on_one_host(package: Path, todo: list[tuple[int, Race]], results: Results, end: float) -> None:
    """Run races until one fails, which costs the host, or all are done."""
    with FaultHost(known_suites()[0]) as host:
        bench = Bench(host, package)
        runner = Runner(bench)
        try:
            while time.monotonic() < end and (taken := _next(todo)) is not None:
                (number, race), begun = taken, time.monotonic()
                try:
                    said = runner.run(race, number=number).value
                except (AssertionError, MachineError, OSError, KeyError, ValueError) as error:
                    said = f"{FAILED}: {error}"
                    traceback.print_exc()
                    print(bench.site.told() if host.is_up else "", flush=True)
                results.add(race, number=number, said=said)
                print(f"{race}: {said} ({time.monotonic() - begun:.1f} s)", flush=True)
                if said.startswith(FAILED):
                    return
        finally:
            bench.close()


def _next(todo: list[tuple[int, Race]]) -> tuple[int, Race] | None:
    """The first of the list, taken off it; another lane takes from it as well."""
    try:
        return todo.pop(0)
    except IndexError:
        return None


def _lane(packages: Path, todo: list[tuple[int, Race]], results: Results, end: float) -> None:
    """One host after the other."""
    while todo and time.monotonic() < end:
        on_one_host(next(packages.glob("*.deb")), todo, results, end)


def main() -> int:
    """Run, print a table, 1 where anything failed or was left out."""
    here, wanted = commit(), re.compile(os.environ.get("ONLY", ""))
    results, seed = Results(here), int(os.environ.get("SEED", "1"))
    asked = [((seed + place) % 3, race) for place, race in enumerate(races()) if wanted.search(str(race))]
    known = results.read()
    todo = [(number, race) for number, race in asked if known.get(race, FAILED).startswith(FAILED)]
    end = time.monotonic() + 60 * float(os.environ.get("MINUTES", "600"))
    jobs = int(os.environ.get("JOBS", "1"))
    with tempfile.TemporaryDirectory() as folder:
        build = [str(_REPOSITORY / "packaging" / "build.sh"), folder]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        with ThreadPoolExecutor(jobs) as pool:
            try:
                for lane in [pool.submit(_lane, Path(folder), todo, results, end) for _ in range(jobs)]:
                    lane.result()
            except KeyboardInterrupt:
                todo.clear()  # each lane ends with the race that it is at
                raise
    found = results.read()
    failed = [race for _, race in asked if found.get(race, "").startswith(FAILED)]
    ran = sum(race in found for _, race in asked)
    said = [f"Commit {here}, seed {seed}: {ran} of {len(asked)} races run, {len(failed)} failed."]
    said += [f"{race}: {found[race].splitlines()[0]}" for race in failed]
    text = f"{table(found)}\n\n" + "\n".join(said)
    _TABLE.parent.mkdir(exist_ok=True)
    _TABLE.write_text(text + "\n")
    print(f"\n{text}")
    return 1 if failed or ran < len(asked) else 0


if __name__ == "__main__":
    sys.exit(main())
