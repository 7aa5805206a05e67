"""What a worker that was killed has left, for the next one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from guardian.host import gate, paths, runc
from guardian.host.record import Record
from guardian.model.config import defaults
from guardian.model.outcome import Outcome
from guardian.model.states import Purpose, State
from guardian.work import recover
from guardian.work.host import Host
from tests.unit.samples import container


def test_a_restore_whose_hold_was_lifted_already_is_brought_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker was killed between the lift and the result."""
    for name in ("TICKETS", "HOLDERS", "RESTORES", "HOLDS", "FROZEN"):
        monkeypatch.setattr(paths, name, tmp_path / name)
        (tmp_path / name).mkdir()
    monkeypatch.setattr(runc, "state", lambda _: object())
    host = Host.of(dataclasses.replace(defaults(), store_path=str(tmp_path / "store")))
    it = container()
    checkpoint = host.ledger.begin(Record(it, Purpose.SUSPEND, 1.79e9, "boot", (it.id,), "", True, 0, False))
    checkpoint.mark(State.SPENT)
    holder = paths.HOLDERS / it.id
    holder.mkdir()
    (holder / "ticket").write_text(f"checkpoint={checkpoint.folder}\n")
    (holder / "running").touch()
    assert not gate.holds()
    recover.recover(host, say=lambda _: None)
    result = checkpoint.result()
    assert result is not None
    assert result.outcome == Outcome.RESUMED
