"""The checkpoints of the store: listed, named, removed, verified."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from guardian.host import manifest
from guardian.host.checkpoint import Checkpoint
from guardian.host.ledger import Ledger, remove
from guardian.host.record import Record
from guardian.model import checkpoint_name
from guardian.model.checkpoint_name import Named
from guardian.model.errors import GuardianError, StoreError
from guardian.model.outcome import Outcome, Result
from guardian.model.states import MEANING, Purpose, State
from guardian.model.wording import printable
from guardian.work.host import Host, Say


@dataclasses.dataclass(frozen=True)
class Known:
    """A checkpoint with its record and what it is named by."""

    checkpoint: Checkpoint
    record: Record
    named: Named


def known(ledger: Ledger) -> list[Known]:
    """All checkpoints whose record is understood, in the order of time."""
    found = list(_known(ledger))
    return sorted(found, key=lambda item: (item.record.taken, item.checkpoint.id))


def _known(ledger: Ledger) -> Iterator[Known]:
    for checkpoint in ledger.all():
        try:
            record = checkpoint.record()
        except GuardianError:
            continue
        named = Named(checkpoint.id, checkpoint.container_id, record.container.name, record.number)
        yield Known(checkpoint, record, named)


def find(ledger: Ledger, name: str) -> Known:
    """The checkpoint that a person means; raises NoCheckpoint."""
    there = known(ledger)
    wanted = checkpoint_name.find(name, [item.named for item in there])
    return next(item for item in there if item.named is wanted)


def listed(ledger: Ledger, containers: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A dictionary for each checkpoint, of these containers or of all; docs/json.md has the keys."""
    return [
        {
            "name": item.named.shown(),
            "id": item.checkpoint.id,
            "container_id": item.checkpoint.container_id,
            "container": item.record.container.name,
            "kind": item.record.purpose.value,
            "taken": item.record.taken,
            "size": item.checkpoint.image_size(),
            "state": item.checkpoint.state().value,
            "meaning": meaning(item.checkpoint),
            "hashed": manifest.is_there(item.checkpoint),
            "note": item.record.note,
        }
        for item in known(ledger)
        if not containers or any(checkpoint_name.is_of(item.named, name) for name in containers)
    ]


def meaning(checkpoint: Checkpoint) -> str:
    """In words, what a checkpoint is good for now."""
    state = checkpoint.state()
    why = checkpoint.note(state)
    if checkpoint.restorable():
        return "waits to be restored"
    travel = checkpoint.travel()
    if travel is not None and checkpoint.elsewhere():
        other = printable(travel.host)
        return f"moved to {other}" if state is State.MOVED else f"its move here from {other} is undecided"
    if not (checkpoint.folder / "img" / "inventory.img").exists():
        return f"no images: {why or MEANING[state]}"
    if checkpoint.purpose() is Purpose.SNAPSHOT and state is State.DONE:
        return "complete"
    return why or MEANING[state]


def delete(host: Host, names: Sequence[str], *, say: Say) -> list[Result]:
    """Remove checkpoints; all names are looked up first. Raises NoCheckpoint, or StoreError where one is needed."""
    chosen = [find(host.ledger, name) for name in names]
    for item in chosen:
        if item.checkpoint.restorable():
            raise StoreError(
                f"{item.named.shown()} waits to be restored",
                "it is the container's memory",
                hint=f"guardianctl release {item.record.container.name} gives it up",
            )
        if item.checkpoint.elsewhere():
            raise StoreError(
                f"{item.named.shown()} says that another host has the container",
                "without it the container could be started here as well",
                hint="docker rm the container first",
            )
        if item.checkpoint.purpose() is Purpose.SUSPEND and item.checkpoint.result() is None:
            raise StoreError(f"{item.named.shown()} is in use", "its checkpoint or restore is under way")
    results = []
    for item in chosen:
        remove(item.checkpoint)
        say(f"{item.named.shown()}: removed")
        container = item.record.container
        results.append(Result(container.id, container.name, Outcome.REMOVED, "", 0.0, item.checkpoint.id))
    return results
