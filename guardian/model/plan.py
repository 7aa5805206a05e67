"""The plan: what a checkpoint of everything would come to, in numbers, as a tree, and in what has become worse."""

from __future__ import annotations

import dataclasses
import heapq
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from guardian.model.graph import Graph
from guardian.model.traits import Obstacle

_BASE = 0.3
_RATE = 200 << 20
"""Seconds of a small dump, and bytes a second of a large one, where this host has no history."""

_SMALL = 16 << 20
"""An image up to here says what a dump costs at least; a larger one what a byte costs."""


@dataclasses.dataclass(frozen=True)
class Speed:
    """How long checkpoints take on this host: `samples` is from how many earlier ones that is known."""

    base: float = _BASE
    rate: float = _RATE
    samples: int = 0

    def seconds(self, size: int) -> float:
        """What an image of `size` bytes takes."""
        return self.base + size / self.rate


def speed(history: Iterable[tuple[int, float]]) -> Speed:
    """From (bytes, seconds) of earlier checkpoints; medians, so that one bad day does not count."""
    known = [(size, seconds) for size, seconds in history if size > 0 and seconds > 0]
    small = [seconds for size, seconds in known if size <= _SMALL]
    large = [(size, seconds) for size, seconds in known if size > _SMALL]
    base = statistics.median(small) if small else _BASE
    if not small and large:
        base = min(base, min(seconds for _, seconds in large) / 2)
    rates = [size / (seconds - base) for size, seconds in large if seconds > base]
    return Speed(base, statistics.median(rates) if rates else _RATE, len(known))


def together(seconds: Iterable[float], slots: int) -> float:
    """What dumps take that run `slots` at a time, in the order given."""
    ends: list[float] = []
    for each in seconds:
        begin = heapq.heappop(ends) if len(ends) >= max(1, slots) else 0.0
        heapq.heappush(ends, begin + each)
    return max(ends, default=0.0)


@dataclasses.dataclass(frozen=True)
class Forecast:
    """The plan for one container. `lost` says which of its `connections` a reboot would close, empty where none."""

    id: str
    name: str
    obstacles: tuple[Obstacle, ...]
    size: int
    seconds: float
    connections: int = 0
    lost: str = ""

    @property
    def savable(self) -> bool:
        """Whether nothing forbids saving it."""
        return not any(item.forbids for item in self.obstacles)

    def to_json(self) -> dict[str, Any]:
        """As docs/json.md has it."""
        data = dataclasses.asdict(self)
        return data | {
            "savable": self.savable,
            "obstacles": [dataclasses.asdict(item) for item in self.obstacles],
        }


def save_order(graph: Graph, chosen: Mapping[str, str]) -> list[list[str]]:
    """The groups that are saved as one, members in the order in which they are frozen; `chosen` are names by id."""
    groups = (
        [chosen[item] for item in graph.freeze_order(group) if item in chosen] for group in graph.groups()
    )
    return [group for group in groups if group]


def resume_tree(graph: Graph, chosen: Mapping[str, str]) -> list[dict[str, Any]]:
    """What waits for what, as nodes: `name`, the `condition` it waits for, and `then`, those that wait for it.

    A container that waits for several stands below each, with all that waits for it only below the one that is
    resumed last; elsewhere it is there `again`. Every chosen container is a node that is not just once.
    """
    order = [item for item in graph.restore_order() if item in chosen]
    place = {item: index for index, item in enumerate(order)}
    below: dict[str, list[tuple[str, str, bool]]] = {item: [] for item in order}
    roots = []
    for item in order:
        edges = [edge for edge in graph.dependencies(item) if edge.target in place]
        edges = [edge for edge in edges if place[edge.target] < place[item]]  # others are a cycle's
        last = max((edge.target for edge in edges), key=place.__getitem__, default=None)
        if last is None:
            roots.append(item)
        for edge in edges:
            below[edge.target].append((item, edge.condition.value, edge.target != last))
    nodes: dict[str, dict[str, Any]] = {}
    for item in reversed(order):  # whoever waits comes first, so that its node is there
        then = []
        for child, condition, again in below[item]:
            node = {"name": chosen[child], "then": []} if again else nodes[child]
            then.append({**node, "condition": condition, "again": again})
        nodes[item] = {"name": chosen[item], "condition": "", "again": False, "then": then}
    return [nodes[item] for item in roots]


def drawn(tree: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tree as lines; what is there again ends with dots."""
    lines = []
    for node in tree:
        lines += [str(node["name"]), *_branches(node["then"], " ")]
    return lines


def _branches(nodes: Sequence[Mapping[str, Any]], prefix: str) -> Iterator[str]:
    for index, node in enumerate(nodes):
        final = index == len(nodes) - 1
        dots = " ..." if node["again"] else ""
        yield f"{prefix}{'└─' if final else '├─'} {node['name']} (once it is {node['condition']}){dots}"
        yield from _branches(node["then"], prefix + ("   " if final else "│  "))


def news(before: Mapping[str, bool], now: Sequence[Forecast]) -> list[tuple[bool, str]]:
    """What has changed since the last look, whether each is good, and in words. `before` is savable by id."""
    told = []
    for item in now:
        if before.get(item.id, True) and not item.savable:
            first = next(obstacle for obstacle in item.obstacles if obstacle.forbids)
            told.append((False, f"{item.name}: cannot be saved any more: {first.what}; {first.cure}"))
        elif not before.get(item.id, True) and item.savable:
            told.append((True, f"{item.name}: can be saved again"))
    return told
