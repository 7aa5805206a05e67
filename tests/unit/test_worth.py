"""Who is saved first when time is short."""

from __future__ import annotations

from guardian.model.container import Mount
from guardian.model.graph import Member
from guardian.model.labels import Policy
from guardian.model.worth import worth
from tests.unit.samples import container, volume


def _member(*mounts: Mount, priority: int = 0) -> Member:
    return Member(container(mounts=mounts), Policy(enabled=True, priority=priority))


def test_priority_then_what_cannot_be_rebuilt_then_size() -> None:
    queue = [
        (_member(volume("data"), priority=5), 900),
        (_member(), 20),
        (_member(volume("data", writable=False)), 700),
        (_member(Mount("tmpfs", "", "/tmp", True)), 800),
        (_member(volume("data")), 10),
        (_member(Mount("bind", "/srv", "/srv", True)), 30),
    ]
    assert sorted(queue, key=lambda item: worth(*item)) == queue
