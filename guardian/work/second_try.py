"""A save before dockerd stops: who cannot be saved is tried once more where that may pass, or stopped gracefully."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from guardian.host import chain
from guardian.host.checkpoint import Checkpoint
from guardian.model.graph import Graph, Member
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Purpose
from guardian.work import script, stop
from guardian.work.checkpoint import GiveUp, checkpoint, goes_on
from guardian.work.host import Budget, Host, Say
from guardian.work.settle import note_result


def save(host: Host, graph: Graph, members: Sequence[Member], *, budget: Budget, say: Say) -> list[Result]:
    """Checkpoint them; once more those over whose dump somebody was killed: nothing is wrong with them.

    And those whose memory was written ahead, which may be what is wrong: without that.
    What was killed because it hung would hang again, and cost the others their time.
    """
    given_up = _GivenUp(host, budget)

    def tried(chosen: Sequence[Member], become: GiveUp, pre_dump: int | None = None) -> list[Result]:
        return checkpoint(
            host,
            graph,
            chosen,
            purpose=Purpose.SUSPEND,
            by_person=False,
            budget=budget,
            say=say,
            given_up=become,
            pre_dump=pre_dump,
        )

    results = tried(members, given_up.once_more)
    if given_up.again:
        say(f"once more: {', '.join(member.container.name for member in given_up.again)}")
        late = {member.container.id for member in given_up.again}
        results = [item for item in results if item.container_id not in late]
        results += tried(given_up.again, given_up.stopped, pre_dump=0)
        given_up.close()
    return results


class _GivenUp:
    """What becomes of whom the first try, and the second, could not save. `again`: for whom there is a second."""

    def __init__(self, host: Host, budget: Budget) -> None:
        self.again: list[Member] = []
        self._host = host
        self._budget = budget
        self._first: dict[str, tuple[Checkpoint, Result]] = {}

    def once_more(self, member: Member, reason: str, made: Checkpoint | None) -> Result:
        """Tried again, where that may pass."""
        if made is None or reason.startswith(script.TOO_LONG):
            return self.stopped(member, reason, made)
        killed = script.was_killed(made.folder / "work" / "dump.log", reason)
        if not killed and not chain.noted(made.folder):
            return self.stopped(member, reason, made)
        self.again.append(member)
        result = goes_on(member, reason, made)
        self._first[member.container.id] = made, result
        return dataclasses.replace(result, outcome=Outcome.SKIPPED)

    def stopped(self, member: Member, reason: str, made: Checkpoint | None) -> Result:
        """Stopped gracefully; a store that is full by now has the record of the first try to say so."""
        record = made
        if made is None and member.container.id in self._first:
            record, _ = self._first.pop(member.container.id)
        limit = self._budget.left(at_most=self._host.config.container_timeout)
        result = stop.stop(self._host, member, reason, record, limit=limit)
        if made is None and record is not None and result.outcome != Outcome.COLD:
            note_result(record, result)
        return result

    def close(self) -> None:
        """Whoever has a second record needs the first no more."""
        for record, result in self._first.values():
            note_result(record, result)
