"""Whether a container can expect its addresses back: Docker gives out the lowest free one (measured on 26 and 28)."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from guardian.model.container import Attachment, Container, RestartPolicy


def at_risk(guarded: Sequence[Container], others: Iterable[Container]) -> Mapping[str, tuple[str, ...]]:
    """For each guarded, running container the networks on which another address is possible after a restore.

    dockerd starts the others before guardian has its turn, and gives them the lowest addresses: whose own is among
    those may find it taken. Gaps below its own are filled (`guardian.work.placeholders`); `--ip` makes sure.
    """
    early: dict[str, int] = {}
    for container in others:
        if container.running and container.restart_policy is not RestartPolicy.NO:
            for item in container.networks:
                early[item.network_id] = early.get(item.network_id, 0) + (not item.pinned)
    return {
        container.id: tuple(
            item.name for item in container.networks if _place(item) < early.get(item.network_id, 0)
        )
        for container in guarded
        if container.running
    }


def _place(item: Attachment) -> float:
    """How many addresses are below an attachment's own; endless where none is given out by Docker's choice."""
    own = number(item)
    if item.driver != "bridge" or item.pinned or not item.prefix4 or not own:
        return float("inf")
    # The network's own address, and the gateway's, which is the first one unless somebody chose another.
    network = ipaddress.ip_network(f"{item.address4}/{item.prefix4}", strict=False)
    return own[0] - int(network.network_address) - 2


def free_below(
    item: Attachment, network: Mapping[str, Any], given: Collection[int], *, most: int
) -> tuple[int, ...]:
    """The addresses below an attachment's own that are free on its network, as NetworkInspect describes that.

    `given` are known to be taken; nothing where there are more than `most`. Raises ValueError where an address or
    subnet is none.
    """
    own = int(ipaddress.IPv4Address(item.address4))
    pools = [
        pool
        for pool in (network.get("IPAM") or {}).get("Config") or ()
        if own in _span(str(pool.get("Subnet") or "0.0.0.0/32"))
    ]
    if not pools:
        return ()
    subnet = _span(str(pools[0]["Subnet"]))
    span = _span(str(pools[0].get("IPRange") or pools[0]["Subnet"]))
    if own not in span:
        return ()
    taken = {subnet[0], *_taken(pools[0], network), *given}
    free = itertools.islice((number for number in range(span[0], own) if number not in taken), most + 1)
    found = tuple(free)
    return found if len(found) <= most else ()


def _span(subnet: str) -> range:
    network = ipaddress.ip_network(subnet, strict=False)
    return (
        range(int(network.network_address), int(network.broadcast_address) + 1)
        if network.version == 4
        else range(0)
    )


def _taken(pool: Mapping[str, Any], network: Mapping[str, Any]) -> Iterator[int]:
    given = [pool.get("Gateway"), *(pool.get("AuxiliaryAddresses") or {}).values()]
    given += [each.get("IPv4Address") for each in (network.get("Containers") or {}).values()]
    for text in given:
        if text:
            yield int(ipaddress.IPv4Address(str(text).split("/")[0]))


def number(item: Attachment) -> tuple[int, ...]:
    """Its IPv4 address as a number; nothing where it has none."""
    try:
        return (int(ipaddress.IPv4Address(item.address4)),)
    except ValueError:
        return ()
