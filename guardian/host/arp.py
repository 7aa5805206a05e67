"""Says on the wire that an IPv4 address is here now: what others remember of it would lead them to the old host.

A gratuitous ARP request, as RFC 5227, 3 describes it. Neighbours of an IPv6 address are told by who adds it
(net.ipv6.conf.*.ndisc_notify).
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import struct
from collections.abc import Collection

from guardian.host.command import run
from guardian.model.connections import Address

_LIMIT = 10.0
_ETHERTYPE = 0x0806
_BROADCAST = b"\xff" * 6
_REQUEST = struct.Struct("!HHBBH6s4s6s4s")


def announce(addresses: Collection[Address]) -> None:
    """Announce those that this host has, on the interfaces that have them; raises CommandFailed, OSError."""
    for link in json.loads(run(["ip", "-json", "address"], limit=_LIMIT).output):
        for info in link.get("addr_info") or ():
            with contextlib.suppress(ValueError):
                found = ipaddress.ip_address(info.get("local", ""))
                if found in addresses and isinstance(found, ipaddress.IPv4Address):
                    _send(str(link["ifname"]), bytes.fromhex(link["address"].replace(":", "")), found)


def _send(interface: str, hardware: bytes, where: ipaddress.IPv4Address) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        raw.send(frame(hardware, where))


def frame(hardware: bytes, where: ipaddress.IPv4Address) -> bytes:
    """The request, with its Ethernet header."""
    head = _BROADCAST + hardware + struct.pack("!H", _ETHERTYPE)
    return head + _REQUEST.pack(1, 0x0800, 6, 4, 1, hardware, where.packed, b"\0" * 6, where.packed)
