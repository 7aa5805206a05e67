"""The canary where there is no CRIU: what cannot be tried is told from what fails, and nothing is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guardian.host import canary, paths, runc

NO_PROCESS = 1 << 30


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store, and a canary that is what the test makes of it."""
    monkeypatch.setattr(paths, "CANARY", tmp_path / "program")
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def program(store: Path, script: str) -> None:
    file = store.parent / "program"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_a_program_that_is_not_there_is_no_failure(store: Path) -> None:
    trial = canary.attempt(store)
    assert trial.untried
    assert not trial.failure
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("script", ["exit 1", "echo hello", "exec >&-; exec sleep 100"])
def test_nor_is_one_that_does_not_get_ready(store: Path, script: str) -> None:
    program(store, script)
    trial = canary.attempt(store, limit=5.0)
    assert "does not start" in trial.untried
    assert list(store.iterdir()) == []


def test_one_that_says_nothing_has_its_limit(store: Path) -> None:
    program(store, "exec sleep 100")
    trial = canary.attempt(store, limit=0.5)
    assert "does not start" in trial.untried
    assert trial.seconds < 5.0


def test_a_host_without_criu_fails(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(store, "echo ready 1; exec >&-; exec sleep 100")
    monkeypatch.setattr(runc, "USUAL_PATH", str(store))
    trial = canary.attempt(store, limit=5.0)
    assert "criu is not there" in trial.failure
    assert list(store.iterdir()) == []


def test_what_a_killed_one_left_is_removed(store: Path) -> None:
    left, busy, other = (
        store / f".canary-{NO_PROCESS}-a",
        store / f".canary-{os.getpid()}-b",
        store / "container",
    )
    for folder in (left, busy, other):
        folder.mkdir()
    program(store, "exit 1")
    canary.attempt(store)
    assert not left.exists()
    assert busy.exists()
    assert other.exists()


def test_a_store_that_is_not_there_is_no_reason(store: Path) -> None:
    (store.parent / "run").mkdir()
    program(store, "exit 1")
    assert "does not start" in canary.attempt(store / "gone").untried
