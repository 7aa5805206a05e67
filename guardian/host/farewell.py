"""Farewell: have the peer of a connection that is no more find that out now, instead of at its next word.

A segment that fits nothing makes the peer's kernel answer with where it is (RFC 9293, 3.10.7.4: an unacceptable segment
is acknowledged); this host has no such socket any more and answers that with a reset which fits. Until the conntrack
entry is deleted, that answer would still be led to a container that is gone.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from guardian.host.command import run
from guardian.model.connections import Flow

_ACK = 0x10
_HEADER = struct.Struct("!HHIIBBHHH")
_IPV6_CHECKSUM = 7
"""linux/in6.h: the kernel fills the checksum in, at this offset of what is sent."""
_CHECKSUM_AT = 16
_LIMIT = 10.0


def say(arriving: Iterable[Flow]) -> int:
    """Say it to the peers of these flows, as they arrive at this host; returns to how many. Raises OSError."""
    said = 0
    for flow in arriving:
        _forget(flow)
        _probe(flow.back())
        said += 1
    return said


def _forget(flow: Flow) -> None:
    """Delete the conntrack entry; whether there is one does not matter."""
    for way in ("orig", "reply"):
        argv = ["conntrack", "-D", "-f", f"ipv{flow.source.version}", "-p", "tcp"]
        argv += [f"--{way}-src", str(flow.source), f"--{way}-dst", str(flow.target)]
        argv += [f"--{way}-port-src", str(flow.source_port), f"--{way}-port-dst", str(flow.target_port)]
        run(argv, limit=_LIMIT, check=False)


def _probe(flow: Flow) -> None:
    version = flow.source.version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        segment = segment_of(flow)
        if version == 6:
            raw.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, _CHECKSUM_AT)
        raw.bind((str(flow.source), 0))
        raw.sendto(segment, (str(flow.target), 0))


def segment_of(flow: Flow) -> bytes:
    """A bare acknowledgement of nothing; for IPv4 with its checksum (RFC 9293, 3.1), for IPv6 without."""
    empty = _HEADER.pack(flow.source_port, flow.target_port, 0, 0, (_HEADER.size // 4) << 4, _ACK, 0, 0, 0)
    if flow.source.version == 6:
        return empty
    pseudo = flow.source.packed + flow.target.packed + struct.pack("!HH", socket.IPPROTO_TCP, len(empty))
    total = sum(struct.unpack(f"!{(len(pseudo) + len(empty)) // 2}H", pseudo + empty))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return empty[:_CHECKSUM_AT] + struct.pack("!H", ~total & 0xFFFF) + empty[_CHECKSUM_AT + 2 :]
