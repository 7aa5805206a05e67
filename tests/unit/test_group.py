"""A group on its way through a checkpoint: what it asked for is given back, whatever becomes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guardian.host import runc
from guardian.host.checkpoint import Checkpoint
from guardian.host.record import Record
from guardian.model.config import defaults
from guardian.model.container import Container
from guardian.model.graph import Group, Member
from guardian.model.labels import GroupPolicy
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Purpose
from guardian.work import hooks
from guardian.work.checkpoint import _Group, _Kind
from guardian.work.hooks import CONTINUED
from guardian.work.host import Budget, Host
from guardian.work.slots import Rank, Slots
from tests.unit.samples import member


@dataclasses.dataclass(eq=False)
class _Begun:
    """A member whose checkpoint has begun."""

    container: Container
    rank: Rank
    reason: str = ""
    checkpoint: Any = None

    @property
    def failed(self) -> bool:
        return bool(self.reason)

    def give_up(self, reason: str) -> None:
        self.reason = reason


def _stopped(of: Member, reason: str, _made: Checkpoint | None) -> Result:
    return Result(of.container.id, of.container.name, Outcome.COLD, reason, 0.0, "")


def _lost(begun: Callable[[Container], _Begun], slots: Slots) -> tuple[_Group, _Begun]:
    """A group of two, all or nothing, of which only the first has begun."""
    members = [member("one"), member("other")]
    group = _Group(
        Host.of(defaults()),
        members,
        Group(tuple(item.container.id for item in members), GroupPolicy.ALL_OR_NOTHING),
        slots,
        _Kind(Purpose.SUSPEND, False, "", None, None),
        Budget(10),
        None,  # type: ignore[arg-type]
    )
    first = begun(members[0].container)
    group._dumps = [first]  # type: ignore[list-item]
    group._reasons = {members[1].container.id: "it is not running"}
    return group, first


def test_nobody_is_expected_of_a_group_that_is_given_up_as_a_whole() -> None:
    """Whoever is of less worth would let a slot pass for them, frozen."""
    slots = Slots(1)
    group, begun = _lost(lambda it: _Begun(it, (-9, 0, 1)), slots)
    slots.expect(begun.rank)
    results = group.run(print, _stopped)
    assert [result.outcome for result in results] == [Outcome.COLD, Outcome.COLD]
    assert slots._expected == []


@pytest.mark.parametrize(
    ("outcome", "kept", "told"),
    [
        (Outcome.FAILED, Outcome.FAILED, [CONTINUED]),
        (Outcome.SKIPPED, None, [CONTINUED]),
        (Outcome.COLD, None, []),
    ],
)
def test_who_is_tried_once_more_goes_on_and_has_no_end(
    outcome: Outcome,
    kept: Outcome | None,
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its record is what a cold start is told by, where the second try cannot begin."""
    heard: list[str] = []
    monkeypatch.setattr(hooks, "has_any", lambda *_: True)
    monkeypatch.setattr(hooks, "tell_host", lambda *_: None)
    monkeypatch.setattr(hooks, "tell_container", lambda _config, _it, what: heard.append(what))
    monkeypatch.setattr(runc, "state", lambda _: object())
    ledger = Host.of(dataclasses.replace(defaults(), store_path=str(tmp_path))).ledger

    def begun(it: Container) -> _Begun:
        record = Record(it, Purpose.SUSPEND, 1.79e9, "boot", (it.id,), "", True, 0, False)
        return _Begun(it, (), "the dump failed", ledger.begin(record))

    group, first = _lost(begun, Slots(1))
    group.run(print, lambda of, why, _: Result(of.container.id, of.container.name, outcome, why, 0.0))
    found = first.checkpoint.result()
    assert (found.outcome if found is not None else None) == kept
    assert heard == told
