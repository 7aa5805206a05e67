"""What waits is sorted out container by container."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from guardian.host.record import Record
from guardian.model.config import defaults
from guardian.model.states import Purpose, State
from guardian.work import pending
from guardian.work.host import Host
from tests.unit.samples import container


def test_a_folder_that_cannot_be_read_costs_nobody_else_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left to the emergency unit, which needs no store."""
    host = Host.of(dataclasses.replace(defaults(), store_path=str(tmp_path)))
    monkeypatch.setattr(pending, "_stale", lambda *_: "")
    good, bad = container("good", running=False), container("bad", running=True)
    (tmp_path / bad.id).write_text("a file where a folder should be: it cannot be listed")
    made = host.ledger.begin(
        Record(good, Purpose.SUSPEND, time.time(), "boot", (good.id,), "", True, 0, False)
    )
    for state in (State.DUMPED, State.DURABLE, State.HELD, State.COMMITTED, State.KILLED):
        made.mark(state)
    ready, results = pending.sort_out(host, [bad, good], [bad.id, good.id], say=print)
    assert ([item.container.name for item in ready], results) == (["good"], [])
