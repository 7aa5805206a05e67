"""Runs one target: `python -m tests.fuzz.fast.engine TARGET RUNS SEED FOLDER`, with atheris on the path where there is.

FOLDER gets `report.json`, a file for the first input of each outcome, and one for the first of each crash or hang; with
atheris also what it found to cover more. Run by `python -m tests.fuzz.fast`, which starts one for each target.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import gc
import hashlib
import importlib
import json
import logging
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.fast import mutation
from tests.fuzz.fast.outcome import Rejected

TICK = 0.5
MOST_TICKS = 3
"""Ticks of CPU time that may pass within one input: it had at least a second then."""
CORPUS = Path(__file__).parents[1] / "corpus"
_REPORT_EVERY = 10_000
_KEPT_MOST = 200


class Hang(BaseException):
    """An input took too much of the CPU; no handler of errors may take it for one."""


@dataclasses.dataclass
class Report:
    """What became of the inputs so far. `grown` is what memory grew by after a tenth of them, in bytes."""

    inputs: int = 0
    seconds: float = 0.0
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    crashes: dict[str, str] = dataclasses.field(default_factory=dict)
    crash_count: int = 0
    hangs: int = 0
    grown: int = 0
    engine: str = "blind"


class Judge:
    """Gives inputs to a target and counts what comes out."""

    def __init__(self, name: str, run: Callable[[bytes], str], runs: int, folder: Path) -> None:
        self._name = name
        self._run = run
        self._runs = runs
        self._folder = folder
        self._begun = time.monotonic()
        self._ticks = 0
        self._within = False
        self._warm = 0
        self.report = Report()
        folder.mkdir(parents=True, exist_ok=True)
        signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, TICK, TICK)

    def one(self, data: bytes) -> None:
        """One input."""
        report = self.report
        if report.inputs >= self._runs:
            return
        self._ticks, self._within = 0, True
        try:
            outcome = self._run(data)
        except Hang as error:
            report.hangs += 1
            self._crashed(data, "hang", error)
        except Exception as error:  # noqa: BLE001 - whatever comes out is what is looked for
            if isinstance(error, Rejected):
                outcome = f"rejected: {error}"
                self._count(outcome, data)
            else:
                report.crash_count += 1
                self._crashed(data, type(error).__name__, error)
        else:
            self._count(f"accepted: {outcome}" if outcome else "accepted", data)
        finally:
            self._within = False
        report.inputs += 1
        if report.inputs % _REPORT_EVERY == 0 or report.inputs == self._runs:
            self.write()

    def close(self) -> None:
        """Look no more at the time."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _tick(self, *_: object) -> None:
        self._ticks += 1
        if self._within and self._ticks >= MOST_TICKS:
            raise Hang(f"more than {TICK * (MOST_TICKS - 1):g} s of CPU")

    def _count(self, outcome: str, data: bytes) -> None:
        if outcome not in self.report.outcomes and len(self.report.outcomes) < _KEPT_MOST:
            self._keep("outcome", data)
        self.report.outcomes[outcome] += 1

    def _crashed(self, data: bytes, kind: str, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        inner = [frame for frame in frames if "/guardian/" in frame.filename] or frames
        where = f"{kind} at {Path(inner[-1].filename).name}:{inner[-1].lineno}"
        if where not in self.report.crashes:
            self.report.crashes[where] = f"{error!s:.200}"
            self._keep("crash", data)
            print(f"{self._name}: {where}: {error!s:.200}", file=sys.stderr, flush=True)

    def _keep(self, kind: str, data: bytes) -> None:
        (self._folder / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)

    def write(self) -> None:
        """Write the report as it is."""
        now = _memory()
        if not self._warm and self.report.inputs >= self._runs // 10:
            self._warm = now
        self.report.grown = max(0, now - self._warm) if self._warm else 0
        self.report.seconds = time.monotonic() - self._begun
        temporary = self._folder / ".report"
        temporary.write_text(json.dumps(vars(self.report)))
        temporary.rename(self._folder / "report.json")


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def corpus(name: str) -> list[bytes]:
    """The inputs that are kept for a target."""
    folder = CORPUS / name
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def _blind(judge: Judge, target: Any, runs: int, seed: int) -> None:
    """Mutations without looking at what they reach; an input with a new outcome is mutated further."""
    random_ = random.Random(seed)
    known = [*target.seeds, *corpus(target.name)]
    for data in known:
        judge.one(data)
    seen = len(judge.report.outcomes)
    while judge.report.inputs < runs:
        data = random_.choice(known)
        made = (
            mutation.of_tree(data, random_.getrandbits(32), target.longest)
            if target.tree and random_.random() < 0.5
            else None
        )
        if made is None:
            made = mutation.of_bytes(data, target.words, known, random_, target.longest)
        judge.one(made)
        if len(judge.report.outcomes) > seen:
            seen = len(judge.report.outcomes)
            known.append(made)


def _guided(judge: Judge, target: Any, runs: int, seed: int, folder: Path, atheris: Any) -> None:
    """Mutations of libFuzzer's, guided by what they reach; does not return."""
    given, found = folder / "given", folder / "found"
    for place in (given, found):
        place.mkdir(exist_ok=True)
    for number, data in enumerate([*target.seeds, *corpus(target.name)]):
        (given / f"{number:04}").write_bytes(data)
    words = folder / "words"
    words.write_text(
        "".join(
            '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'
            for word in target.words
            if len(word) < 64
        )
    )

    def mutated(data: bytes, most: int, own_seed: int) -> bytes:
        if own_seed % 5:
            made = mutation.of_tree(data, own_seed, most)
            if made is not None:
                return made
        return bytes(atheris.Mutate(data, most))

    depth = 1 if target.tree else 5
    arguments = [
        *(sys.argv[0], f"-runs={runs + 1}", f"-seed={seed}", f"-max_len={target.longest}", "-timeout=60"),
        *("-verbosity=0", "-len_control=0", f"-mutate_depth={depth}", "-rss_limit_mb=4096", f"-dict={words}"),
        *(str(found), str(given)),
    ]
    atheris.Setup(arguments, judge.one, **({"custom_mutator": mutated} if target.tree else {}))
    atheris.Fuzz()


def main() -> int:
    """Run the target."""
    name, runs, seed, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    logging.disable(logging.CRITICAL)
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        atheris = None
    with atheris.instrument_imports(include=["guardian"]) if atheris else contextlib.nullcontext():
        targets = importlib.import_module("tests.fuzz.fast.targets")
    target = targets.TARGETS[name]
    gc.collect()
    judge = Judge(name, target.run, runs, folder)
    if atheris is None:
        _blind(judge, target, runs, seed)
        return 0
    judge.report.engine = "atheris"
    _guided(judge, target, runs, seed, folder, atheris)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())
