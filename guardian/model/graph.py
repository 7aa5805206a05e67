"""What waits for what, and who belongs together: the guarded containers as a graph.

Nothing in here stops a container. An edge that cannot be followed is left out and said in `problems`:

- an unknown dependency is ignored;
- one that is not guarded is ignored: the restore does not wait for it;
- one on itself is ignored;
- edges within a cycle are dropped for ordering: its members stay one group and are restored in name order;
- one that is to be completed counts as satisfied: nothing waits for it, and it is never a problem.
"""

from __future__ import annotations

import dataclasses
import graphlib
import ipaddress
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence

from guardian.model.components import connected, strongly_connected
from guardian.model.container import Attachment, Container
from guardian.model.labels import (
    COMPOSE_DEPENDS_ON,
    COMPOSE_ONEOFF,
    COMPOSE_PROJECT,
    COMPOSE_SERVICE,
    Condition,
    Dependency,
    GroupPolicy,
    Policy,
)
from guardian.model.wording import quoted, some

_STRICTNESS = (Condition.COMPLETED, Condition.STARTED, Condition.HEALTHY)
_NOT_DATA = ("/dev", "/proc", "/sys")
_MOST_NAMES = 8


@dataclasses.dataclass(frozen=True)
class Member:
    """A guarded container and what its labels ask for."""

    container: Container
    policy: Policy


@dataclasses.dataclass(frozen=True)
class Other:
    """A container that is known and not guarded: what it can be called."""

    name: str
    service: str = ""
    project: str = ""
    id: str = ""


def called(container: Container) -> Other:
    """What `container` can be called by others."""
    labels = container.labels
    oneoff = labels.get(COMPOSE_ONEOFF, "").lower() == "true"
    service = "" if oneoff else labels.get(COMPOSE_SERVICE, "")
    return Other(container.name, service, labels.get(COMPOSE_PROJECT, ""), container.id)


@dataclasses.dataclass(frozen=True)
class Edge:
    """`source` waits until `target` has met the condition; both are ids of guarded containers."""

    source: str
    target: str
    condition: Condition


@dataclasses.dataclass(frozen=True)
class Group:
    """Containers that are saved as one: `members` are ids, by name."""

    members: tuple[str, ...]
    policy: GroupPolicy


@dataclasses.dataclass(frozen=True)
class Graph:
    """The finished graph. `build` makes it."""

    _edges: Mapping[str, tuple[Edge, ...]]
    _groups: tuple[Group, ...]
    _levels: tuple[tuple[str, ...], ...]
    _problems: Mapping[str, tuple[str, ...]]

    def dependencies(self, container_id: str) -> tuple[Edge, ...]:
        """What the container's restore waits for."""
        return self._edges.get(container_id, ())

    def groups(self) -> tuple[Group, ...]:
        """The groups, by the name of their first member; every member is in exactly one."""
        return self._groups

    def freeze_order(self, group: Group) -> tuple[str, ...]:
        """The group's members, dependents first."""
        members = frozenset(group.members)
        return tuple(member for member in reversed(self.restore_order()) if member in members)

    def restore_levels(self) -> tuple[tuple[str, ...], ...]:
        """The members by distance: a level depends on earlier ones only. Within a level by name."""
        return self._levels

    def restore_order(self) -> tuple[str, ...]:
        """All members, dependencies first: the levels one after the other."""
        return tuple(member for level in self._levels for member in level)

    def problems(self, container_id: str) -> tuple[str, ...]:
        """What the container's dependencies name and the graph does not follow (the labels' own are in Policy)."""
        return self._problems.get(container_id, ())


def build(members: Sequence[Member], others: Sequence[Other]) -> Graph:
    """The graph of the guarded `members`; `others` serve to tell "not guarded" from "unknown"."""
    by_name = sorted(members, key=lambda member: (member.container.name, member.container.id))
    order = {member.container.id: place for place, member in enumerate(by_name)}
    names = {member.container.id: member.container.name for member in by_name}
    problems: dict[str, list[str]] = {container_id: [] for container_id in order}
    directory = _Directory(by_name, others)
    edges = _merged(edge for member in by_name for edge in _edges_of(member, directory, problems))
    waits = [edge for edge in edges if edge.condition is not Condition.COMPLETED]
    circles = strongly_connected(order, _targets(waits))
    circle_of = {member: circle for circle in circles for member in circle}
    kept: dict[str, list[Edge]] = {}
    for edge in waits:
        circle = circle_of[edge.source]
        if edge.target not in circle:
            kept.setdefault(edge.source, []).append(edge)
            continue
        problems[edge.source].append(
            f"the dependency on {quoted(names[edge.target])} is part of a cycle "
            f"({some(sorted(names[member] for member in circle), most=_MOST_NAMES)}): these are restored in name order"
        )
    return Graph(
        {member: tuple(found) for member, found in kept.items()},
        _groups(by_name, edges, order),
        _levels(circles, kept, order),
        {member: tuple(dict.fromkeys(found)) for member, found in problems.items()},
    )


def address_order(containers: Iterable[Container]) -> tuple[str, ...]:
    """The ids in the order in which `docker start` gives them their old addresses back.

    Ascending by the IPv4 address on the first network that has one; those without come last, by name.
    """

    def key(container: Container) -> tuple[bool, int, str]:
        address = next((number for number in map(_number, container.networks) if number is not None), None)
        return address is None, address or 0, container.name

    return tuple(container.id for container in sorted(containers, key=key))


class _Directory:
    """Who is meant by a name."""

    def __init__(self, members: Sequence[Member], others: Sequence[Other]) -> None:
        entries = [called(member.container) for member in members]
        self.healthchecked = {member.container.id for member in members if member.container.healthcheck.argv}
        self.guarded = {entry.id for entry in entries}
        entries += [other for other in others if other.id not in self.guarded]
        self._names = {entry.name: entry for entry in reversed(entries)}
        self._ids = {entry.id: entry for entry in entries if entry.id}
        self._services: dict[tuple[str, str], list[Other]] = {}
        for entry in entries:
            if entry.project and entry.service:
                self._services.setdefault((entry.project, entry.service), []).append(entry)

    def dependency(self, wanted: Dependency, project: str) -> Sequence[Other]:
        """Whom a label means: a container's name, else a service. Compose's own label names services only."""
        if wanted.label != COMPOSE_DEPENDS_ON and wanted.target in self._names:
            return (self._names[wanted.target],)
        return self._services.get((project, wanted.target), ())

    def container(self, reference: str) -> Sequence[Other]:
        """Whom "container:REFERENCE" means: an id or a name."""
        found = self._ids.get(reference) or self._names.get(reference)
        return (found,) if found else ()


def _edges_of(member: Member, directory: _Directory, problems: Mapping[str, list[str]]) -> Iterator[Edge]:
    """The edges that labels, shared namespaces, links and volumes ask for; what cannot be followed is a problem."""
    me = called(member.container)
    said = problems[me.id]
    wanted: list[tuple[str, Condition, Sequence[Other]]] = []
    for each in member.policy.depends_on:
        origin = f"label {each.label} names {quoted(each.target)}"
        wanted.append((origin, each.condition, directory.dependency(each, me.project)))
    for origin, reference in _taken_from_others(member.container):
        wanted.append((origin, Condition.STARTED, directory.container(reference)))
    for origin, condition, found in wanted:
        if any(other.id == me.id for other in found):
            said.append(f"{origin}, which is the container itself: ignored")
            continue
        if not found and condition is not Condition.COMPLETED:
            said.append(f"{origin}, and there is no such container or service: ignored")
        for other in found:
            if other.id in directory.guarded:
                met = condition
                if condition is Condition.HEALTHY and other.id not in directory.healthchecked:
                    said.append(
                        f"{origin} as healthy, and {quoted(other.name)} has no health check: "
                        "waits until it is started"
                    )
                    met = Condition.STARTED
                yield Edge(me.id, other.id, met)
            elif condition is not Condition.COMPLETED:
                said.append(
                    f"{origin}, and {quoted(other.name)} is not guarded: the restore does not wait for it"
                )


def _taken_from_others(container: Container) -> Iterator[tuple[str, str]]:
    """What the container has of another one, in words, and that one's name or id."""
    for kind, reference in _shared_namespaces(container):
        yield f"the {kind} namespace is that of {quoted(reference)}", reference
    for reference in container.links:
        yield f"--link names {quoted(reference)}", reference
    for reference in container.volumes_from:
        yield f"--volumes-from names {quoted(reference)}", reference


def _shared_namespaces(container: Container) -> Iterator[tuple[str, str]]:
    """Kind and owner of each namespace that the container shares with another."""
    modes = (
        ("network", container.network_mode),
        ("IPC", container.ipc_mode),
        ("PID", container.pid_mode),
    )
    for kind, mode in modes:
        if mode.startswith("container:"):
            yield kind, mode.removeprefix("container:")


def _merged(edges: Iterable[Edge]) -> list[Edge]:
    """One edge for each pair, with the strictest condition."""
    strictest: dict[tuple[str, str], Edge] = {}
    for edge in edges:
        pair = (edge.source, edge.target)
        strictest[pair] = max(
            strictest.get(pair, edge), edge, key=lambda each: _STRICTNESS.index(each.condition)
        )
    return list(strictest.values())


def _targets(edges: Iterable[Edge]) -> dict[str, list[str]]:
    targets: dict[str, list[str]] = {}
    for edge in edges:
        targets.setdefault(edge.source, []).append(edge.target)
    return targets


def _groups(members: Sequence[Member], edges: Iterable[Edge], order: Mapping[str, int]) -> tuple[Group, ...]:
    """What hangs together over dependencies, namespaces and what is written to."""
    links = [(edge.source, edge.target) for edge in edges]
    for sharers in _sharers(members):
        links += [(sharers[0], sharer) for sharer in sharers[1:]]
    neighbours: dict[str, list[str]] = {}
    for one, another in links:
        neighbours.setdefault(one, []).append(another)
        neighbours.setdefault(another, []).append(one)
    strict = {member.container.id for member in members if member.policy.group is GroupPolicy.ALL_OR_NOTHING}
    return tuple(
        Group(
            tuple(sorted(found, key=order.__getitem__)),
            GroupPolicy.ALL_OR_NOTHING if found & strict else GroupPolicy.BEST_EFFORT,
        )
        for found in connected(order, neighbours)
    )


def _sharers(members: Sequence[Member]) -> Iterator[list[str]]:
    """The members that share something which at least one of them may change, thing by thing."""
    users: dict[tuple[str, str], list[str]] = {}
    written: set[tuple[str, str]] = set()
    for member in members:
        for thing, writable in _things(member.container):
            users.setdefault(thing, []).append(member.container.id)
            if writable:
                written.add(thing)
    return (found for thing, found in users.items() if thing in written)


def _things(container: Container) -> Iterator[tuple[tuple[str, str], bool]]:
    """What the container may share with others, and whether it may change it.

    A socket and the kernel's own file systems are no data that two containers could disagree about.
    """
    for kind, owner in _shared_namespaces(container):
        yield (kind, owner), True
    for mount in container.mounts:
        if mount.volume:
            yield ("volume", mount.volume), mount.writable
        source = posixpath.normpath(mount.source) if mount.source else ""
        if source and not source.endswith(".sock") and not _below(source, _NOT_DATA):
            yield ("source", source), mount.writable


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _levels(
    circles: Sequence[frozenset[str]], kept: Mapping[str, Sequence[Edge]], order: Mapping[str, int]
) -> tuple[tuple[str, ...], ...]:
    """The members by distance. The members of a cycle share one level."""
    circle_of = {member: number for number, circle in enumerate(circles) for member in circle}
    sorter = graphlib.TopologicalSorter(dict.fromkeys(range(len(circles)), frozenset[int]()))
    for edges in kept.values():
        for edge in edges:
            sorter.add(circle_of[edge.source], circle_of[edge.target])
    sorter.prepare()
    levels: list[tuple[str, ...]] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        found = [member for number in ready for member in circles[number]]
        levels.append(tuple(sorted(found, key=order.__getitem__)))
        sorter.done(*ready)
    return tuple(levels)


def _number(attachment: Attachment) -> int | None:
    """The IPv4 address of a network attachment as a number; None where there is none."""
    try:
        return int(ipaddress.IPv4Address(attachment.address4))
    except ValueError:
        return None
