"""Docker's networks: what a container has of each, which of them are gone, and how one is made anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import docker
import docker.errors
import docker.types

from guardian.model.container import Attachment
from guardian.model.errors import GuardianError

PREDEFINED = ("bridge", "host", "none", "default")
"""Docker makes these itself, the first one with a new id at each of its starts."""
_MADE_WITH = (
    *("Driver", "Options", "IPAM", "Internal", "Attachable", "Labels"),
    *("EnableIPv4", "EnableIPv6", "Scope", "ConfigOnly", "ConfigFrom"),
)
_ASKED = ("IPAMConfig", "Links", "Aliases", "DriverOpts")


def attachment(name: str, item: Mapping[str, Any], network: Mapping[str, Any]) -> Attachment:
    """What a container has of a network: `item` from its inspection, `network` as NetworkList has it (may be empty)."""
    return Attachment(
        name=name,
        network_id=str(item.get("NetworkID") or ""),
        address4=str(item.get("IPAddress") or ""),
        address6=str(item.get("GlobalIPv6Address") or ""),
        mac=str(item.get("MacAddress") or ""),
        prefix4=int(item.get("IPPrefixLen") or 0),
        prefix6=int(item.get("GlobalIPv6PrefixLen") or 0),
        pinned=bool((item.get("IPAMConfig") or {}).get("IPv4Address")),
        driver=str(network.get("Driver") or ""),
        network={key: network[key] for key in _MADE_WITH if network.get(key)},
        endpoint={key: item[key] for key in _ASKED if item.get(key)},
    )


def by_name(item: Attachment, there: Iterable[Mapping[str, Any]]) -> Attachment:
    """The attachment of a container that was never started: dockerd does not say yet which network's it is."""
    network = next((each for each in there if each.get("Name") == item.name), {})
    made_with = {key: network[key] for key in _MADE_WITH if network.get(key)}
    return dataclasses.replace(item, driver=str(network.get("Driver") or ""), network=made_with)


def vanished(attachments: Sequence[Attachment], there: Collection[str]) -> list[Attachment]:
    """The attachments whose network is not among the ids that are `there`."""
    return [
        item
        for item in attachments
        if item.name not in PREDEFINED and item.network_id and item.network_id not in there
    ]


def make_anew(api: docker.APIClient, container_id: str, item: Attachment, there: Collection[str]) -> None:
    """Make a network as it was, unless one of its name is `there`, and connect a stopped container to it as it was.

    Raises GuardianError where what the network was made with is not known or not to be had again, and dockerd's errors.
    """
    if item.name not in there:
        create(api, item)
    # The container still names the old one's id, and dockerd starts it by that.
    api.disconnect_container_from_network(container_id, item.name, force=True)
    connect(api, container_id, item)


def endpoint(item: Attachment, container_id: str) -> dict[str, Any]:
    """What was asked of a network, for another container than this one: its id is not to be an alias any more."""
    asked = dict(item.endpoint)
    asked["Aliases"] = [name for name in asked.get("Aliases") or () if name != container_id[:12]]
    return asked


def connect(api: docker.APIClient, container_id: str, item: Attachment) -> None:
    """Connect a stopped container to a network as it was; raises dockerd's errors."""
    asked = item.endpoint.get("IPAMConfig") or {}
    api.connect_container_to_network(
        container_id,
        item.name,
        ipv4_address=asked.get("IPv4Address"),
        ipv6_address=asked.get("IPv6Address"),
        link_local_ips=asked.get("LinkLocalIPs"),
        aliases=item.endpoint.get("Aliases"),
        links=[tuple(link.split(":", 1)) for link in item.endpoint.get("Links") or ()],
        driver_opt=item.endpoint.get("DriverOpts"),
    )


def create(api: docker.APIClient, item: Attachment) -> None:
    """Make a network as it was; raises GuardianError where it is not known how, and dockerd's errors."""
    made_with = item.network
    taken_over = (made_with.get("ConfigFrom") or {}).get("Network")
    if made_with.get("Scope") != "local" or made_with.get("ConfigOnly") or taken_over:
        raise GuardianError(
            f"the network {item.name} cannot be made anew",
            "it is not an ordinary network of this host, or it is not known what it was made with",
            hint="docker network create",
        )
    ipam = made_with.get("IPAM") or {}
    pools = [
        docker.types.IPAMPool(
            subnet=pool.get("Subnet"),
            iprange=pool.get("IPRange") or None,
            gateway=pool.get("Gateway") or None,
            aux_addresses=pool.get("AuxiliaryAddresses") or pool.get("AuxAddress") or None,
        )
        for pool in ipam.get("Config") or ()
    ]
    api.create_network(
        item.name,
        driver=made_with.get("Driver"),
        options=made_with.get("Options"),
        ipam=docker.types.IPAMConfig(ipam.get("Driver") or "default", pools, ipam.get("Options") or {}),
        internal=bool(made_with.get("Internal")),
        labels=made_with.get("Labels"),
        enable_ipv6=bool(made_with.get("EnableIPv6")),
        attachable=bool(made_with.get("Attachable")),
    )


def subnets(network: Mapping[str, Any]) -> list[str]:
    """The subnets of a network as the API describes it, or as an attachment keeps it."""
    return sorted(str(pool.get("Subnet")) for pool in (network.get("IPAM") or {}).get("Config") or ())


def taken(there: Iterable[Mapping[str, Any]]) -> list[str]:
    """The subnets of all these networks."""
    return [subnet for network in there for subnet in subnets(network)]


def without_subnets(item: Attachment) -> Attachment:
    """The same network with whatever subnets Docker finds free."""
    ipam = {**(item.network.get("IPAM") or {}), "Config": []}
    return dataclasses.replace(item, network={**item.network, "IPAM": ipam})
