"""Overview: each guarded container, what it is doing, whether it can be saved and why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guardian.host import gate, runc
from guardian.model import addresses
from guardian.model.container import Container
from guardian.model.graph import Member
from guardian.model.labels import Mode
from guardian.model.savable import refusals
from guardian.model.states import State
from guardian.model.wording import quoted
from guardian.work import choice, guarded
from guardian.work.host import Host


def overview(host: Host, containers: Sequence[Container]) -> list[dict[str, Any]]:
    """One dictionary for each guarded container; the keys are documented in docs/json.md."""
    # What is held is shown whatever its labels say: somebody will want to know why it does not start.
    found = guarded.find(containers, host.config, also=gate.holds())
    unsupported = runc.unsupported()
    risks = addresses.at_risk([member.container for member in found.members], found.others)
    shown = []
    for member in sorted(found.members, key=lambda item: item.container.name):
        container = member.container
        checkpoints = host.ledger.of(container.id)
        last = next((item.result() for item in reversed(checkpoints) if item.result() is not None), None)
        pending = host.ledger.pending(container.id)
        reasons = [f"{refusal.what}: {refusal.cure}" for refusal in refusals(container) if container.running]
        if unsupported:
            reasons.append(unsupported)
        shown.append(
            {
                "id": container.id,
                "name": container.name,
                "state": _state(host, container, waits=pending is not None),
                "savable": container.running and not reasons,
                "reasons": reasons,
                "problems": [
                    *member.policy.problems,
                    *_chosen(member),
                    *found.graph.problems(container.id),
                    *(_may_move(network) for network in risks.get(container.id, ())),
                ],
                "depends_on": [edge.target for edge in found.graph.dependencies(container.id)],
                "checkpoint": pending.id if pending else None,
                "last": last.to_json() if last else None,
            }
        )
    return shown


def _chosen(member: Member) -> list[str]:
    """What its owner has chosen instead of a checkpoint."""
    chosen = choice.of(member, going_down=True)
    return [] if chosen.mode is Mode.CHECKPOINT else [f"is not saved: {chosen.why}"]


def _may_move(network: str) -> str:
    return (
        f"may come back with another address on {quoted(network)}, its connections closed: "
        "dockerd may start an unguarded container first and give it this one; --ip pins it"
    )


def _state(host: Host, container: Container, *, waits: bool) -> str:
    away = None if container.running else host.ledger.elsewhere(container.id)
    if away is not None:
        return "moved" if away.state() is State.MOVED else "arriving"
    if gate.held(container.id) or (waits and not container.running):
        return "held"
    if container.paused:
        return "paused"
    return "running" if container.running else "stopped"
