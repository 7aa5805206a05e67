"""Cells of `make test-faults` that were not as they must be once: a step, what struck, what had begun it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench, opened
from tests.faults.runner import Run
from tests.faults.steps import Cell
from tests.machines.recipes import known_suites

_SEED = 1


@pytest.fixture(scope="module")
def bench(package: Path) -> Iterator[Bench]:
    """One for all tests here."""
    with opened(os.environ.get("HOST") or known_suites()[0], package) as made:
        yield made


@pytest.mark.parametrize(
    "cell",
    [
        Cell("imaging", "runc", "restart"),  # its CRIU's own error came later than the question why
        Cell("held", "criu", "restart"),  # a second dump did not know the peer that was down by then
        Cell("locked", "one EIO", "command"),  # where the verdict's fsync failed as well, it stayed frozen
        Cell(
            "killed", "worker", "restart"
        ),  # two units had each started a worker: one settled the other's dumps
        Cell("ticketed", "full", "command"),  # a folder for CRIU, and no room for a log in it; no result
        Cell("verdict", "full", "command"),  # images of namespaces cut short, and CRIU content with them
        Cell("proven", "containerd", "command"),  # it ran, and dockerd had been told that it did not
        Cell(
            "spent", "dockerd stopped", "restart"
        ),  # the stop waited two minutes for what waited for dockerd
        Cell("dumped", "read-only", "restart"),  # neither saved nor written down: it stayed down
        Cell("restoring", "read-only", "command"),  # the facts of a cold start were those of before
    ],
    ids=str,
)
def test_nothing_is_lost(bench: Bench, cell: Cell) -> None:
    """As the whole table judges it, up to a reboot that resumes all of them."""
    found = Run(bench, cell, _SEED).run()
    if found.verdict:
        print(bench.site.told())
    assert not found.verdict
