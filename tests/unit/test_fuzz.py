"""The fast fuzzing campaign in short: what is kept of the long one, and that it would find what it looks for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import native
from tests.fuzz.fast import mutation
from tests.fuzz.fast.__main__ import MOST_GROWTH, row, wrong
from tests.fuzz.fast.engine import CORPUS, Hang, Judge
from tests.fuzz.fast.outcome import Rejected

TOP = Path(__file__).resolve().parents[2]
_MOST_CORPUS = 200 << 10


def test_what_is_kept_crashes_nothing_any_more(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.fast.replay"],
        cwd=TOP,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    found = re.search(r"([0-9]+) inputs, ([0-9]+) targets, 0 crashes", ended.stdout)
    assert found is not None
    assert int(found[1]) > 300
    assert int(found[2]) >= 30


def test_the_corpus_is_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert len(files) > 200
    assert sum(path.stat().st_size for path in files) <= _MOST_CORPUS


@pytest.mark.parametrize("name", native.NATIVE)
def test_the_parsers_in_c(name: str, tmp_path: Path) -> None:
    kept = sorted((CORPUS / name).glob("*"))
    found = native.run_native(name, 2000 + len(kept), 7, tmp_path / "work", kept)
    assert not list(wrong(found))
    assert found["inputs"] == 2000 + len(kept)
    assert found["outcomes"]["accepted"] > 0


def crashing(data: bytes) -> str:
    if data.startswith(b"crash"):
        raise KeyError("x")
    if data.startswith(b"no"):
        raise Rejected("no")
    if data.startswith(b"hang"):
        while True:
            json.loads("1")
    return "fine"


def judged(folder: Path, run: Callable[[bytes], str], *inputs: bytes) -> Judge:
    judge = Judge("sample", run, len(inputs), folder)
    try:
        for data in inputs:
            judge.one(data)
    finally:
        judge.close()
    return judge


def test_crashes_hangs_and_outcomes_are_told_apart(tmp_path: Path) -> None:
    begun = time.process_time()
    judge = judged(tmp_path, crashing, b"yes", b"no", b"no2", b"crash", b"crash2", b"hang")
    assert time.process_time() - begun > 0.9
    report = judge.report
    assert dict(report.outcomes) == {"accepted: fine": 1, "rejected: no": 2}
    assert (report.crash_count, report.hangs, report.inputs) == (2, 1, 6)
    assert len(report.crashes) == 2, "the second crash at one place is the same"
    assert any(where.startswith("hang at ") for where in report.crashes)
    said = json.loads((tmp_path / "report.json").read_text())
    assert len(list(wrong(said))) == 2
    assert list(wrong({**said, "crashes": {}, "grown": MOST_GROWTH + 1})) == ["memory grew by 64 MiB"]
    assert "| 6 | " in row("sample", said)
    kept = {path.read_bytes() for path in tmp_path.glob("crash-*")}
    assert kept == {b"crash", b"hang"}
    assert {path.read_bytes() for path in tmp_path.glob("outcome-*")} == {b"yes", b"no"}


def test_a_hang_is_no_error_that_a_handler_takes() -> None:
    assert not issubclass(Hang, Exception)


def test_mutations_are_the_same_for_a_seed_and_not_for_another() -> None:
    data = b'{"a": [1, {"b": "c"}], "d": null}'
    trees = [mutation.of_tree(data, seed, 1000) for seed in range(200)]
    assert trees == [mutation.of_tree(data, seed, 1000) for seed in range(200)]
    assert len(set(trees)) > 100
    assert mutation.of_tree(b"{", 1, 1000) is None
    assert all(tree is None or len(tree) <= 20 for tree in (mutation.of_tree(data, s, 20) for s in range(50)))
