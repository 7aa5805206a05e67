"""docs/promises.md names tests that there are, each in the suite that the cell names, and no promise lacks one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_TOP = Path(__file__).resolve().parents[2]
_ROWS = [
    line
    for line in (_TOP / "docs" / "promises.md").read_text().splitlines()
    if line.startswith("| ") and not line.endswith("| shown by |")
]
_TARGETS = set(re.findall(r"^([a-z-]+):", (_TOP / "Makefile").read_text(), re.MULTILINE))
_SUITES = ("host", "vm", "upgrade", "migrate", "images", "unit")


def _functions(suite: str) -> set[str]:
    """Names of the tests of a suite. A file's name is none: it may hold anything."""
    return {
        name
        for path in (_TOP / "tests" / suite).rglob("test_*.py")
        for name in re.findall(r"^(?:    )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }


_TESTS = {suite: _functions(suite) for suite in _SUITES}


def _faults(cell: str) -> list[str]:
    """What a cell names that does not show anything: a suite stands before the first of its tests."""
    faults, suite, shown = [], "", 0
    for word, name in re.findall(r"(?:\b(\w+) )?`([^`]*)`", cell):
        suite = word or suite
        target = name.removeprefix("make ")
        known = name in _TESTS.get(suite, ()) if target == name else target in _TARGETS
        shown += known
        faults += [] if known else [f"{suite} {name}"]
    return faults if shown else [*faults, "nothing"]


def test_there_are_promises() -> None:
    assert len(_ROWS) > 40


@pytest.mark.parametrize("row", _ROWS)
def test_it_names_what_shows_it(row: str) -> None:
    cell = row.rstrip("|").rpartition("|")[2].strip()
    assert _faults(cell) == []
    for name in re.findall(r"\]\(([^)]*)\)", cell):
        assert (_TOP / "docs" / name).exists(), name


@pytest.mark.parametrize(
    "cell",
    [
        "host `test_failures`",
        "vm",
        "vm `test_main_job`",
        "vm `test_three_generations`",
        "`test_three_generations`",
        "`make nothing`",
        "host `test_three_generations`, vm `test_three_generations`",
    ],
)
def test_what_shows_nothing_is_noticed(cell: str) -> None:
    """A file, a suite, a test of another suite or of none, a target that there is not."""
    assert _faults(cell)
