"""`make fuzz`: RUNS (1,000,000) inputs into each parser of the fast campaign, from SEED (1), one after the other.

TARGETS names some of them. The C programs' parsers are compiled with AddressSanitizer and UBSan (`native`). Inputs
that reached something new stay in FOLDER (dist/fuzz); KEEP=1 puts the shortest of them into the corpus. Exit status 0
if nothing crashed, nothing hung and memory stayed; the table goes to standard output.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.fuzz.fast.engine import CORPUS
from tests.fuzz.native import NATIVE, run_native

_REPOSITORY = Path(__file__).resolve().parents[3]
MOST_GROWTH = 64 << 20
"""Bytes; libFuzzer's own corpus is in it."""
_MOST_SECONDS = 4 * 3600
_KEPT_BYTES = 5 << 10
"""Of one target's inputs in the corpus."""
_KEPT_EACH = 1 << 10
HEAD = (
    "| target | inputs | seconds | accepted | rejected | crashes | hangs | memory grown |\n|---"
    + "|--:" * 7
    + "|"
)


def _python(name: str, runs: int, seed: int, folder: Path) -> Mapping[str, Any]:
    """The report of one target, run in a process of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (folder / "log").open("wb") as log, tempfile.TemporaryDirectory(dir=memory) as scratch:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.fast.engine", name, str(runs), str(seed), str(folder)],
            cwd=_REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": "0", "TMPDIR": scratch},
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=_MOST_SECONDS,
            check=False,
        )
    try:
        found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    except FileNotFoundError:
        raise AssertionError(f"{name} said nothing: {(folder / 'log').read_text()[-2000:]}") from None
    if found["inputs"] < runs:
        found["crashes"][f"the process ended with {ended.returncode}"] = (folder / "log").read_text()[-500:]
        found["crash_count"] += 1
    return found


def row(name: str, found: Mapping[str, Any]) -> str:
    """A target's line in the table."""
    accepted = sum(count for outcome, count in found["outcomes"].items() if outcome.startswith("accepted"))
    rejected = sum(count for outcome, count in found["outcomes"].items() if outcome.startswith("rejected"))
    return (
        f"| {name} | {found['inputs']:,} | {found['seconds']:.0f} | {accepted:,} | {rejected:,} "
        f"| {found['crash_count']} | {found['hangs']} | {found['grown'] / (1 << 20):.1f} MiB |"
    )


def wrong(found: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a report."""
    yield from (f"{where}: {said}" for where, said in found["crashes"].items())
    if found["grown"] > MOST_GROWTH:
        yield f"memory grew by {found['grown'] >> 20} MiB"


def keep(name: str, folder: Path) -> None:
    """Put the shortest of what a target reached something new with into the corpus."""
    first = sorted(folder.glob("crash-*")) + sorted(folder.glob("outcome-*"))
    found = sorted((folder / "found").glob("*"), key=lambda path: (path.stat().st_size, path.name))
    target, left, seen = CORPUS / name, _KEPT_BYTES, set[bytes]()
    shutil.rmtree(target, ignore_errors=True)
    for path in (*first, *found):
        data = path.read_bytes()
        if len(data) <= min(left, _KEPT_EACH) and data not in seen:
            target.mkdir(parents=True, exist_ok=True)
            seen.add(data)
            (target / path.name.rpartition("-")[2][:12]).write_bytes(data)
            left -= len(data)


def main() -> int:
    """Run the campaign."""
    targets: Mapping[str, Any] = importlib.import_module("tests.fuzz.fast.targets").TARGETS
    runs, seed = int(os.environ.get("RUNS", "1000000")), int(os.environ.get("SEED", "1"))
    chosen = os.environ.get("TARGETS", "").split() or [*NATIVE, *targets]
    folder = Path(os.environ.get("FOLDER", _REPOSITORY / "dist" / "fuzz"))
    problems: list[str] = []
    engines = set()
    print(HEAD, flush=True)
    for name in chosen:
        own = folder / name
        if name in NATIVE:
            found = run_native(name, runs, seed, own)
        else:
            found = _python(name, int(runs * targets[name].share), seed, own)
        print(row(name, found), flush=True)
        problems += [f"{name}: {problem}" for problem in wrong(found)]
        engines.add(found["engine"])
        if os.environ.get("KEEP"):
            keep(name, own)
    print(f"\nseed {seed}; {', '.join(sorted(engines))}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
