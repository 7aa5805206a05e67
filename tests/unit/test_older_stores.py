"""Stores that older guardians wrote, as they were on a host between a checkpoint and its restore, without images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guardian.host.ledger import Ledger
from guardian.model.outcome import Outcome
from guardian.model.states import State
from guardian.work import checkpoints

_RECORDED = Path(__file__).with_name("older_stores")
OLDER = sorted(path.stem for path in _RECORDED.iterdir())
"""The commits that wrote them: `tests/upgrade` has the same guardians at work."""


@pytest.fixture(params=OLDER)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    files = json.loads((_RECORDED / f"{request.param}.json").read_text())
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Ledger(tmp_path)


def test_the_checkpoint_that_waits_is_restored_and_the_one_before_is_over(ledger: Ledger) -> None:
    before, waits = ledger.all()
    assert (before.state(), before.restorable()) == (State.DONE, False)
    result = before.result()
    assert result is not None
    assert (result.outcome, result.name) == (Outcome.RESUMED, "policy")
    assert (waits.state(), waits.restorable(), waits.result()) == (State.KILLED, True, None)
    pending = ledger.pending(waits.container_id)
    assert pending is not None
    assert pending.id == waits.id
    assert waits.processes() == 1


def test_its_record_says_of_the_container_what_it_said_then(ledger: Ledger) -> None:
    (waiting,) = ledger.waiting()
    assert (waiting.name, waiting.restart_policy.value, waiting.labels["guardian.enable"]) == (
        "policy",
        "always",
        "true",
    )
    assert waiting.networks[0].address4.startswith("172.17.0.")
    assert len(checkpoints.known(ledger)) == 2
    for checkpoint in ledger.all():
        assert abs(checkpoint.taken() - checkpoint.record().taken) < 1, (
            "where it cannot be read, its id says when"
        )
