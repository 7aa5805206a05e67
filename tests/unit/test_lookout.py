"""The worker looks ahead by itself: what docs/plan.md says of its journal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from guardian.faces import worker_plan
from guardian.faces.worker_plan import Lookout
from guardian.host.ledger import Ledger
from guardian.model.config import defaults
from guardian.model.container import Container
from guardian.model.errors import EngineUnavailable
from guardian.model.graph import Member
from guardian.model.labels import ENABLE
from guardian.model.plan import Forecast
from guardian.model.traits import Obstacle
from guardian.work.host import Host
from tests.unit.samples import container, id_of

_BAD = Obstacle("uses io_uring", "switch it off")
_TOLD = (logging.WARNING, "web: cannot be saved any more: uses io_uring; switch it off")
_AGAIN = (logging.INFO, "web: can be saved again")


class Bench:
    """A host of guarded containers, of which some cannot be saved."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture) -> None:
        self.containers = [self._made("web"), self._made("db"), self._made("down", running=False)]
        self.containers.append(container("stranger"))
        self.bad: set[str] = set()
        self.claimed: list[set[str]] = []
        self.looked_at: list[list[str]] = []
        self._log = log
        log.set_level(logging.INFO, logger="guardian.plan")
        patch.setattr(worker_plan, "look", self._look)
        host = Host(defaults(), Ledger(folder))
        self.lookout = Lookout(
            host, lambda: self.containers, lambda: self.claimed.pop(0) if self.claimed else ()
        )

    def said(self, *bad: str) -> list[tuple[int, str]]:
        """Level and text of what one look has logged, while these cannot be saved."""
        self.bad = set(bad)
        self._log.clear()
        self.lookout.look()
        return [(record.levelno, record.getMessage()) for record in self._log.records]

    def _look(
        self, _host: Host, seen: Sequence[Container], _found: Any, wanted: Sequence[Member]
    ) -> list[Forecast]:
        assert list(seen) == self.containers
        names = [member.container.name for member in wanted]
        self.looked_at.append(names)
        return [
            Forecast(id_of(name), name, (_BAD,) if name in self.bad else (), 1 << 20, 0.3) for name in names
        ]

    @staticmethod
    def _made(name: str, **changes: Any) -> Container:
        return container(name, labels={ENABLE: "true"}, **changes)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Bench:
    return Bench(tmp_path, monkeypatch, caplog)


def test_what_has_become_worse_is_said_once_and_that_it_is_well_again(bench: Bench) -> None:
    assert bench.said() == []
    assert bench.said("web") == [_TOLD]
    assert bench.said("web") == []
    assert bench.said() == [_AGAIN]
    assert bench.said() == []
    assert bench.looked_at == [["web", "db"]] * 5, "guarded ones that run"


def test_at_the_first_look_all_that_cannot_be_saved_is_said(bench: Bench) -> None:
    assert bench.said("web") == [_TOLD]


@pytest.mark.parametrize(
    "claimed", [[{id_of("web")}, set()], [set(), {id_of("web")}]], ids=["before", "after"]
)
def test_whoever_is_worked_on_meanwhile_is_not_judged(bench: Bench, claimed: list[set[str]]) -> None:
    """A container that is being saved looks like one that cannot be."""
    bench.claimed = list(claimed)
    assert bench.said("web") == []
    assert bench.said("web") == [_TOLD]


def test_what_was_said_outlives_a_look_that_saw_nothing_of_it(bench: Bench) -> None:
    assert bench.said("web") == [_TOLD]
    bench.claimed = [{id_of("web")}, set()]
    assert bench.said() == []
    assert bench.said() == [_AGAIN]


def test_a_container_that_is_gone_is_forgotten(bench: Bench) -> None:
    assert bench.said("web") == [_TOLD]
    web = bench.containers.pop(0)
    assert bench.said() == []
    bench.containers.insert(0, web)
    assert bench.said() == []
    assert bench.said("web") == [_TOLD]


class _Over(BaseException):
    """Ends what runs for ever."""


def test_three_minutes_after_its_start_and_every_hour(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails; a dockerd that is not there is nothing to be logged."""
    waited: list[float] = []
    errors: Iterator[Exception | None] = iter([None, EngineUnavailable("down"), ValueError("broken"), None])
    looks: list[float] = []

    class _Never:
        def wait(self, seconds: float) -> None:
            waited.append(seconds)
            if len(waited) > 4:
                raise _Over

    def looks_now() -> None:
        looks.append(sum(waited))
        error = next(errors)
        if error is not None:
            raise error

    monkeypatch.setattr(threading, "Event", _Never)
    monkeypatch.setattr(bench.lookout, "look", looks_now)
    with pytest.raises(_Over):
        bench.lookout.run()
    assert looks == [180.0, 180.0 + 3600.0, 180.0 + 7200.0, 180.0 + 10800.0]
    assert [record.getMessage() for record in caplog.records] == ["looking ahead"]
    assert "ValueError: broken" in caplog.text
