"""Whether a container can expect its addresses back: Docker gives out the lowest free one (measured on 26 and 28)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence

from guardian.model.container import Attachment, Container

_MOST_LOOKED_AT = 4096
"""Addresses below one's own that are looked at; whoever has more neighbours is told nothing."""


def at_risk(guarded: Sequence[Container]) -> Mapping[str, tuple[str, ...]]:
    """For each guarded, running container the networks on which another address is likely after a restore.

    Its own comes back if every lower one is that of a guarded container, which is started before it, or if it is
    pinned (`--ip`). A lower one that is free, or an unguarded container's, will be given to it instead.
    """
    running = [container for container in guarded if container.running]
    taken: dict[str, set[int]] = {}
    for container in running:
        for item in container.networks:
            taken.setdefault(item.network_id, set()).update(_number(item))
    return {container.id: tuple(_risky(container.networks, taken)) for container in running}


def _risky(networks: Iterable[Attachment], taken: Mapping[str, set[int]]) -> Iterator[str]:
    for item in networks:
        numbers = _number(item)
        if item.driver != "bridge" or item.pinned or not item.prefix4 or not numbers:
            continue
        own = numbers[0]
        # The network's own address, and the gateway's, which is the first one unless somebody chose another.
        first = int(ipaddress.ip_network(f"{item.address4}/{item.prefix4}", strict=False).network_address) + 2
        lower = range(first, min(own, first + _MOST_LOOKED_AT))
        if any(number not in taken[item.network_id] for number in lower):
            yield item.name


def _number(item: Attachment) -> tuple[int, ...]:
    try:
        return (int(ipaddress.IPv4Address(item.address4)),)
    except ValueError:
        return ()
