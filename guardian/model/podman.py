"""A container of Docker's in podman's words, as its checkpoint archives have them (checkpointctl lib/metadata.go).

`io.container.manager: libpod` makes checkpointctl read the layout as podman's; the engine is Docker all the same.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from guardian.model.container import Attachment, Container

_NEVER = "0001-01-01T00:00:00Z"


def config(container: Container, inspection: Mapping[str, Any], taken: str) -> dict[str, Any]:
    """config.dump. `taken` is an RFC 3339 time."""
    image = str((inspection.get("Config") or {}).get("Image") or "")
    return {
        "id": container.id,
        "name": container.name,
        "rootfsImageID": container.image_id.removeprefix("sha256:"),
        "rootfsImageName": image,
        "rootfsImageRef": container.image_id,
        "runtime": container.runtime or "runc",
        "createdTime": str(inspection.get("Created") or _NEVER),
        "checkpointedTime": taken,
        "restoredTime": _NEVER,
        "restored": False,
    }


def spec(container: Container, inspection: Mapping[str, Any]) -> dict[str, Any]:
    """spec.dump: what of the runtime's configuration is known without its bundle."""
    own = inspection.get("Config") or {}
    arguments = [inspection.get("Path"), *(inspection.get("Args") or [])]
    return {
        "ociVersion": "1.2.0",
        "process": {
            "terminal": container.terminal,
            "user": {"uid": 0, "gid": 0, "username": str(own.get("User") or "")},
            "args": [str(item) for item in arguments if item],
            "env": [str(item) for item in own.get("Env") or []],
            "cwd": str(own.get("WorkingDir") or "/"),
        },
        "hostname": str(own.get("Hostname") or ""),
        "mounts": [
            {
                "destination": mount.destination,
                "type": "tmpfs" if mount.kind == "tmpfs" else "bind",
                "source": mount.source,
                "options": ["rw" if mount.writable else "ro"],
            }
            for mount in container.mounts
        ],
        "annotations": {
            "io.container.manager": "libpod",
            "org.dockerguardian.engine": "docker",
            "org.dockerguardian.container": container.id,
        },
        "linux": {},
    }


def networks(container: Container) -> dict[str, Any]:
    """network.status: the addresses it had."""
    return {
        item.name: {
            "interfaces": {
                f"eth{place}": {"subnets": _subnets(item), "mac_address": item.mac},
            }
        }
        for place, item in enumerate(container.networks)
        if item.address4 or item.address6
    }


def _subnets(item: Attachment) -> list[dict[str, str]]:
    gateways = [
        str(pool.get("Gateway") or "") for pool in (item.network.get("IPAM") or {}).get("Config") or ()
    ]
    found = []
    for address, prefix in item.addresses():
        net = ipaddress.ip_interface(f"{address}/{prefix}").network
        own = [gateway for gateway in gateways if _within(gateway, net)]
        found.append({"ipnet": f"{address}/{prefix}"} | ({"gateway": own[0]} if own else {}))
    return found


def _within(address: str, net: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(address.split("/", maxsplit=1)[0]) in net
    except ValueError:
        return False
