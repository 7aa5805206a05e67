"""Which containers are guarded, and how they hang together."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from guardian.model import labels
from guardian.model.config import Config
from guardian.model.container import Container
from guardian.model.errors import NotGuarded, UnknownContainer
from guardian.model.graph import Graph, Member, build, called
from guardian.model.labels import Policy


@dataclasses.dataclass(frozen=True)
class Guarded:
    """The guarded containers of a host and their graph."""

    members: tuple[Member, ...]
    graph: Graph
    others: tuple[Container, ...]

    def ids(self) -> frozenset[str]:
        """Their container ids."""
        return frozenset(member.container.id for member in self.members)


def policy_of(container: Container, config: Config) -> Policy:
    """What a container's labels ask for, as far as the configuration lets them."""
    return labels.parse(
        container.labels, container.image_labels, trust_image_labels=config.trust_image_labels
    )


def find(containers: Sequence[Container], config: Config, *, also: Collection[str] = ()) -> Guarded:
    """Sort the containers of a host into guarded ones and others, and build the graph.

    The containers whose ids are in `also` count as guarded whatever their labels say.
    """
    members: list[Member] = []
    others: list[Container] = []
    for container in containers:
        if labels.PLACEHOLDER in container.labels:
            continue
        policy = policy_of(container, config)
        by_name = config.guards(container.name) and labels.ENABLE not in container.labels
        if policy.enabled or by_name or container.id in also:
            members.append(Member(container, dataclasses.replace(policy, enabled=True)))
        else:
            others.append(container)
    return Guarded(tuple(members), build(members, [called(item) for item in others]), tuple(others))


def choose(guarded: Guarded, containers: Sequence[Container], names: Sequence[str]) -> list[Member]:
    """The guarded containers that `names` (names, ids, unique prefixes of ids) mean; all of them where it is empty.

    Raises UnknownContainer or NotGuarded.
    """
    if not names:
        return list(guarded.members)
    chosen: list[Member] = []
    for name in names:
        container = named(containers, name)
        member = next((item for item in guarded.members if item.container.id == container.id), None)
        if member is None:
            raise NotGuarded(
                f"{container.name} is not guarded",
                "it has no label guardian.enable=true of its own, and the configuration does not name it",
            )
        if member not in chosen:
            chosen.append(member)
    return chosen


def named(containers: Sequence[Container], name: str) -> Container:
    """The container with this name, id or unique prefix of an id; raises UnknownContainer."""
    for container in containers:
        if name.lstrip("/") == container.name or name == container.id:
            return container
    found = [item for item in containers if len(name) >= 4 and item.id.startswith(name)]
    if len(found) == 1:
        return found[0]
    why = f"{len(found)} ids begin so" if found else ""
    raise UnknownContainer(f"there is no container {name!r}", why, hint="docker ps -a lists them")
