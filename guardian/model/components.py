"""Two questions about any graph of names: what hangs together, and what goes in circles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

Neighbours = Mapping[str, Iterable[str]]


def connected(nodes: Iterable[str], neighbours: Neighbours) -> list[frozenset[str]]:
    """The parts of the graph that hang together; `neighbours` has each link in both directions."""
    seen: set[str] = set()
    return [_reached(node, neighbours, seen) for node in nodes if node not in seen]


def strongly_connected(nodes: Iterable[str], successors: Neighbours) -> list[frozenset[str]]:
    """The largest sets in which every node reaches every other (Kosaraju). Single nodes are sets of one."""
    predecessors: dict[str, list[str]] = {}
    for node, targets in successors.items():
        for target in targets:
            predecessors.setdefault(target, []).append(node)
    return connected(reversed(_post_order(nodes, successors)), predecessors)


def _reached(start: str, neighbours: Neighbours, seen: set[str]) -> frozenset[str]:
    """Everything reached from `start` that was not `seen`; adds it there."""
    seen.add(start)
    found, waiting = [start], [start]
    while waiting:
        for neighbour in neighbours.get(waiting.pop(), ()):
            if neighbour not in seen:
                seen.add(neighbour)
                found.append(neighbour)
                waiting.append(neighbour)
    return frozenset(found)


def _post_order(nodes: Iterable[str], successors: Neighbours) -> list[str]:
    """The nodes in the order in which a depth-first walk leaves them (no recursion: labels are hostile)."""
    seen: set[str] = set()
    left: list[str] = []
    for start in nodes:
        if start in seen:
            continue
        seen.add(start)
        path: list[tuple[str, Iterator[str]]] = [(start, iter(successors.get(start, ())))]
        while path:
            node, ahead = path[-1]
            following = next((target for target in ahead if target not in seen), None)
            if following is None:
                left.append(node)
                path.pop()
            else:
                seen.add(following)
                path.append((following, iter(successors.get(following, ()))))
    return left
