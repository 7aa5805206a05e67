"""TCP connections of a container: who is at their other end, and which of them can outlive its absence.

What is joined: the sockets of a network namespace (proc_net_tcp(5)), the host's conntrack entries (conntrack(8) -L)
and what is known of the containers around.
"""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from guardian.model.errors import BadInput
from guardian.model.wording import some

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LEAST_TIMEOUT = 600
"""Seconds that an entry put back lives at least: a peer must have its next word within them."""
_MOST_TIMEOUT = 432000
"""Seconds that the kernel gives an established connection (nf_conntrack_tcp_timeout_established)."""
_TUPLE = re.compile(r"\b(src|dst|sport|dport)=(\S+)")
_MOST_NAMED = 3


def address(text: str) -> Address:
    """An address in its plain form: an IPv4 one mapped into IPv6 becomes IPv4. Raises ValueError."""
    found = ipaddress.ip_address(text)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


@dataclasses.dataclass(frozen=True)
class Flow:
    """One direction of a TCP connection: its packets carry exactly these four."""

    source: Address
    source_port: int
    target: Address
    target_port: int

    def back(self) -> Flow:
        """The other direction."""
        return Flow(self.target, self.target_port, self.source, self.source_port)

    def to_json(self) -> list[Any]:
        """A plain list that `from_json` takes back."""
        return [str(self.source), self.source_port, str(self.target), self.target_port]

    @classmethod
    def from_json(cls, data: Any) -> Flow:
        """Raises BadInput for anything `to_json` would not have written."""
        try:
            source, source_port, target, target_port = data
            return cls(address(source), _port(source_port), address(target), _port(target_port))
        except (TypeError, ValueError) as error:
            raise BadInput("a connection's record does not parse", f"{error!s:.200}") from error


def _port(value: Any) -> int:
    port = int(value)
    if isinstance(value, bool) or not 0 < port < 65536:
        raise ValueError(f"{value!r} is not a port")
    return port


@dataclasses.dataclass(frozen=True)
class Socket:
    """One connected socket of a network namespace. `flow` leads out of it; `inode` is 0 before it is accepted."""

    flow: Flow
    inode: int


_CONNECTED = frozenset({"01", "04", "05", "08", "09", "0B"})
"""Established, FIN-WAIT-1 and -2, CLOSE-WAIT, LAST-ACK, CLOSING (include/net/tcp_states.h): what CRIU dumps."""


def sockets(text: str) -> Iterator[Socket]:
    """The connected sockets in the text of /proc/PID/net/tcp or tcp6."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] not in _CONNECTED:
            continue
        yield Socket(Flow(*_end(fields[1]), *_end(fields[2])), int(fields[9]))


def _end(text: str) -> tuple[Address, int]:
    """ADDRESS:PORT, the address as 32-bit words in the machine's byte order (little: x86-64, arm64)."""
    digits, _, port = text.partition(":")
    words = [bytes.fromhex(digits[start : start + 8])[::-1] for start in range(0, len(digits), 8)]
    return address(str(ipaddress.ip_address(b"".join(words)))), int(port, 16)


@dataclasses.dataclass(frozen=True)
class Tracked:
    """One conntrack entry: the direction that began it, the one that answers, seconds it has left."""

    original: Flow
    reply: Flow
    timeout: int

    def inner(self, own: Collection[Address]) -> Flow | None:
        """The flow that leads out of a container with the addresses `own`; None where it is not its."""
        for flow in (self.original, self.reply):
            if flow.source in own:
                return flow
        return None

    def outer(self, own: Collection[Address]) -> Flow:
        """The flow as it arrives at the host from outside."""
        return self.reply if self.original.source in own else self.original

    @property
    def translated(self) -> bool:
        """Whether one end sees another address or port than the other end has."""
        return self.reply != self.original.back()

    def far_end(self, flow: Flow) -> Address:
        """Who really is at the other end of `flow`, which is one of the two directions."""
        return self.reply.source if flow == self.original else self.original.source

    def to_put_back(self) -> str:
        """The line with which the commit script makes it anew (runtime/conntrack.h)."""
        words = [min(max(self.timeout, _LEAST_TIMEOUT), _MOST_TIMEOUT)]
        return " ".join(map(str, [*words, *self.original.to_json(), *self.reply.to_json()]))


def _with_port(where: Address, port: int) -> str:
    return f"[{where}]:{port}" if where.version == 6 else f"{where}:{port}"


def tracked(text: str) -> Iterator[Tracked]:
    """The TCP entries in what `conntrack -L` prints; lines that are none are left out."""
    for line in text.splitlines():
        words = line.split()
        found = [value for _, value in _TUPLE.findall(line)]
        if words[:1] != ["tcp"] or len(found) != 8:
            continue
        try:
            flows = [
                Flow(address(item[0]), int(item[2]), address(item[1]), int(item[3]))
                for item in (found[:4], found[4:])
            ]
            yield Tracked(flows[0], flows[1], int(words[2]))
        except (ValueError, IndexError):
            continue


class Peer(enum.Enum):
    """Who is at the other end."""

    OUTSIDE = "outside"
    """Beyond this host: it sees a pause, if it is kept from hearing a reset meanwhile."""

    CONTAINER = "container"
    """Another container: it must have been kept as well."""

    HOST = "host"
    """This host itself: one of its processes, or docker-proxy on behalf of somebody else."""

    QUEUE = "queue"
    """Not accepted yet: CRIU cannot dump it."""

    UNTRACKED = "untracked"
    """Beyond this host, and how it was translated on the way is not known."""


@dataclasses.dataclass(frozen=True)
class Connection:
    """One connection of a container. `name` is a peer container's; `entry` is None where conntrack has none."""

    flow: Flow
    peer: Peer
    name: str = ""
    entry: Tracked | None = None

    @property
    def shown(self) -> str:
        """The peer, for people."""
        where = _with_port(self.flow.target, self.flow.target_port)
        return f"{self.name} ({where})" if self.name else where

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        entry = None
        if self.entry is not None:
            entry = {
                "original": self.entry.original.to_json(),
                "reply": self.entry.reply.to_json(),
                "timeout": self.entry.timeout,
            }
        return {
            "flow": self.flow.to_json(),
            "peer": self.peer.value,
            "name": self.name,
            "entry": entry,
        }

    @classmethod
    def from_json(cls, data: Any) -> Connection:
        """Raises BadInput for anything `to_json` would not have written."""
        try:
            entry = data["entry"]
            found = None
            if entry is not None:
                original, reply = Flow.from_json(entry["original"]), Flow.from_json(entry["reply"])
                found = Tracked(original, reply, int(entry["timeout"]))
            return cls(Flow.from_json(data["flow"]), Peer(data["peer"]), str(data["name"]), found)
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise BadInput("a connection's record does not parse", f"{error!s:.200}") from error


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What is around a container: `own` are its addresses, `host` those of the host, `names` those of containers.

    `bridged` are the subnets in which only containers and the host live.
    """

    own: frozenset[Address]
    host: frozenset[Address]
    names: Mapping[Address, str]
    bridged: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()


def connections(
    found: Iterable[Socket], entries: Iterable[Tracked], around: Surroundings
) -> tuple[Connection, ...]:
    """The container's connections, each with who is at its other end; those with itself are left out."""
    found = list(found)
    flows = {item.flow for item in found}
    by_flow = {inner: entry for entry in entries if (inner := entry.inner(around.own)) is not None}
    return tuple(
        _connection(item, by_flow.get(item.flow), around) for item in found if item.flow.back() not in flows
    )


def _connection(item: Socket, entry: Tracked | None, around: Surroundings) -> Connection:
    target = item.flow.target if entry is None else entry.far_end(item.flow)
    name = around.names.get(target, "")
    if item.inode == 0:
        return Connection(item.flow, Peer.QUEUE, name, entry)
    if name:
        return Connection(item.flow, Peer.CONTAINER, name, entry)
    if target in around.host:
        return Connection(item.flow, Peer.HOST, "", entry)
    if any(target in network for network in around.bridged):
        return Connection(item.flow, Peer.CONTAINER, "", entry)
    translated = any(item.flow.source in network for network in around.bridged)
    peer = Peer.UNTRACKED if translated and entry is None else Peer.OUTSIDE
    return Connection(item.flow, peer, "", entry)


def to_fence(found: Iterable[Connection], own: Collection[Address], *, both_ways: bool) -> frozenset[Flow]:
    """The packets that nobody must answer while the container is away.

    `both_ways`: the container has the host's network; what its sockets send must not leave either.
    """
    flows: set[Flow] = set()
    for item in found:
        if both_ways:
            flows |= {item.flow, item.flow.back()}
        elif item.entry is not None and (item.peer is not Peer.CONTAINER or item.entry.translated):
            flows.add(item.entry.outer(own))
    return frozenset(flows)


@dataclasses.dataclass(frozen=True)
class Fate:
    """What becomes of a connection at the restore; `lost` says why it cannot be kept, empty where it can."""

    connection: Connection
    lost: str = ""


def fates(
    found: Iterable[Connection], *, kept: Collection[str], on_host: Collection[Flow]
) -> tuple[Fate, ...]:
    """What becomes of each: `kept` are the containers that come back, `on_host` the flows of the host's own sockets."""
    return tuple(Fate(item, _lost(item, kept, on_host)) for item in found)


def _lost(item: Connection, kept: Collection[str], on_host: Collection[Flow]) -> str:
    if item.peer is Peer.QUEUE:
        return "was not accepted yet"
    if item.peer is Peer.UNTRACKED:
        return "was not in conntrack"
    if item.peer is Peer.CONTAINER and item.name not in kept:
        return "was not kept" if item.name else "is a container that was not kept"
    if item.peer is Peer.HOST and item.flow.back() not in on_host:
        return "is gone on this host"
    return ""


def fates_elsewhere(
    found: Iterable[Connection], *, kept: Collection[str], own_network: bool, moving: Collection[Address] = ()
) -> tuple[Fate, ...]:
    """What becomes of each on another host: those within the group go on, and those of an address that moves along.

    `moving` are the old host's addresses that do. What is lost has no conntrack entry any more: it was the old host's.
    """
    decided = []
    for item in found:
        lost = _lost(item, kept, ())
        if not lost and not (own_network and moves_along(item, moving)):
            lost = _stays(item, own_network=own_network)
        decided.append(Fate(dataclasses.replace(item, entry=None) if lost else item, lost))
    return tuple(decided)


def moves_along(item: Connection, moving: Collection[Address]) -> bool:
    """Whether the peer, beyond the host, knows the container by an address of the host that moves along."""
    if item.peer is not Peer.OUTSIDE or item.entry is None:
        return False
    outer = item.entry.reply if item.flow == item.entry.original else item.entry.original
    return outer.target in moving


def _stays(item: Connection, *, own_network: bool) -> str:
    """Why a connection is one of the old host's: its address, or a port of it, is what the peer knows."""
    if item.peer is Peer.CONTAINER and own_network:
        return "goes through a port of the old host" if item.entry and item.entry.translated else ""
    return "knows the old host's address" if item.entry is not None or not own_network else ""


def closing(lost: Iterable[Fate]) -> str:
    """The filter with which `ss --kill` closes these sockets, in the container's namespace; empty for none."""
    return " or ".join(
        f"( src {_with_port(flow.source, flow.source_port)} and dst {_with_port(flow.target, flow.target_port)} )"
        for flow in (fate.connection.flow for fate in lost)
    )


def said(found: Sequence[Fate], verb: str = "closed") -> str:
    """The connections that are closed, in words; empty where all are kept."""
    lost = [fate for fate in found if fate.lost]
    if not lost:
        return ""
    named = some((f"{fate.connection.shown} {fate.lost}" for fate in lost), most=_MOST_NAMED)
    return f"{verb} {len(lost)} of {len(found)} connections: {named}"
