"""A group on its way through a checkpoint: what it asked for is given back, whatever becomes of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from guardian.host.checkpoint import Checkpoint
from guardian.model.config import defaults
from guardian.model.container import Container
from guardian.model.graph import Group, Member
from guardian.model.labels import GroupPolicy
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Purpose
from guardian.work.checkpoint import _Group, _Kind
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


def test_nobody_is_expected_of_a_group_that_is_given_up_as_a_whole() -> None:
    """Whoever is of less worth would let a slot pass for them, frozen."""
    members = [member("one"), member("other")]
    slots = Slots(1)
    group = _Group(
        Host.of(defaults()),
        members,
        Group(tuple(item.container.id for item in members), GroupPolicy.ALL_OR_NOTHING),
        slots,
        _Kind(Purpose.SUSPEND, False, "", None, None),
        Budget(10),
        None,  # type: ignore[arg-type]
    )
    begun = _Begun(members[0].container, (-9, 0, 1))
    group._dumps = [begun]  # type: ignore[list-item]
    group._reasons = {members[1].container.id: "it is not running"}
    slots.expect(begun.rank)
    results = group.run(print, _stopped)
    assert [result.outcome for result in results] == [Outcome.COLD, Outcome.COLD]
    assert slots._expected == []
