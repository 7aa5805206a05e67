"""Choice: what is to become of a container when dockerd or the host goes down, as its owner has said."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from guardian.host import next_boot
from guardian.model.graph import Graph, Member
from guardian.model.labels import MODE, Mode
from guardian.model.outcome import Outcome, Result
from guardian.work import stop
from guardian.work.checkpoint import line
from guardian.work.host import Budget, Host, Say

SKIPPED = f"{MODE}={Mode.SKIP.value}"


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is done, and why it is not a checkpoint."""

    mode: Mode
    why: str = ""


def of(member: Member, *, going_down: bool) -> Choice:
    """What the container's label says, or `guardianctl next-boot cold` where the host is `going_down`."""
    mode = member.policy.mode
    if mode is not Mode.SKIP and going_down and next_boot.is_cold(member.container.id):
        return Choice(Mode.STOP, next_boot.REASON)
    return Choice(mode, "" if mode is Mode.CHECKPOINT else f"{MODE}={mode.value}")


def skipped(member: Member, choice: Choice) -> Result:
    """It is dockerd's."""
    return Result(member.container.id, member.container.name, Outcome.SKIPPED, choice.why, 0.0)


def stop_all(
    host: Host, graph: Graph, chosen: Sequence[tuple[Member, Choice]], *, budget: Budget, say: Say
) -> list[Result]:
    """Stop containers gracefully: whoever depends on another one before it, the others at once."""
    by_id = {member.container.id: (member, choice) for member, choice in chosen}

    def one(container_id: str) -> Result:
        member, choice = by_id[container_id]
        limit = budget.left(at_most=host.config.container_timeout)
        result = stop.stop(host, member, choice.why, None, limit=limit)
        say(line(result))
        return result

    results: list[Result] = []
    for level in reversed(graph.restore_levels()):
        ids = [container_id for container_id in level if container_id in by_id]
        if ids:
            with ThreadPoolExecutor(len(ids), thread_name_prefix="stop") as pool:
                results += pool.map(one, ids)
    return results
