"""A cold start has its time although the budget's is over."""

from __future__ import annotations

import pytest

from guardian.host.docker_engine import Engine
from guardian.model.outcome import Outcome
from guardian.work.cold import cold
from tests.unit.samples import container


@pytest.mark.parametrize(("left", "limit"), [(1.0, 30.0), (60.0, 60.0), (900.0, 120.0)])
def test_it_has_time_to_start_beside_others(
    left: float, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that a restore has no time for are started at once: dockerd takes longer than for one."""
    asked: list[float] = []
    monkeypatch.setattr(Engine, "__init__", lambda _: None)
    monkeypatch.setattr(Engine, "close", lambda _: None)
    monkeypatch.setattr(Engine, "start_anew", lambda _self, _id, *, limit: asked.append(limit))
    assert cold(container(), "why", left) == (Outcome.COLD, "why")
    assert asked == [limit]
