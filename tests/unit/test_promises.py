"""docs/promises.md names tests that there are, and no promise lacks one."""

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
_TESTS = {path.stem for path in (_TOP / "tests").rglob("test_*.py")} | {
    name
    for path in (_TOP / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}
_TARGETS = set(re.findall(r"^([a-z-]+):", (_TOP / "Makefile").read_text(), re.MULTILINE))
_SUITES = {"vm": "test-vm", "upgrade": "test-upgrade"}


def test_there_are_promises() -> None:
    assert len(_ROWS) > 40


@pytest.mark.parametrize("row", _ROWS)
def test_it_names_what_shows_it(row: str) -> None:
    cell = row.rstrip("|").rpartition("|")[2].strip()
    tests = set(re.findall(r"`(test_\w+)`", cell))
    targets = set(re.findall(r"`make ([a-z-]+)`", cell))
    targets |= {target for suite, target in _SUITES.items() if re.search(rf"\b{suite}\b", cell)}
    assert tests or targets
    assert tests <= _TESTS
    assert targets <= _TARGETS
    for name in re.findall(r"\]\(([^)]*)\)", cell):
        assert (_TOP / "docs" / name).exists(), name
