"""Sockets, as CRIU's images have them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pycriu.images import pb

from guardian.host.images import kernel_names
from guardian.host.images.folder import BadImage, Data, Folder, Message
from guardian.host.images.text import text
from guardian.model.inspection import Socket

HEAD = 64
"""Bytes shown of what lies in a pipe or a socket."""
_FAMILIES = {1: "unix", 2: "inet", 10: "inet6"}
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}
_SHUTDOWN = {0: "", 1: "read", 2: "write", 3: "both"}
"""sk_shutdown of CRIU's sk-inet.proto."""
_NO_OPTIONS = ("sndbuf", "rcvbuf", "filter")
_FLAGS = ("oobinline",)
"""Flags that CRIU keeps as numbers."""


def all_of(folder: Folder, entries: Iterable[Message]) -> Iterator[Socket]:
    """The sockets among the entries of files.img."""
    found = list(entries)
    queues = _queues(folder)
    names = {int(item.usk.ino): unix_name(item.usk) for item in found if item.HasField("usk")}
    for entry in found:
        if entry.HasField("isk"):
            yield inet(entry.isk, _tcp_queue(folder, int(entry.isk.ino)))
        elif entry.HasField("usk"):
            yield _unix(entry.usk, queues.get(int(entry.usk.id), ()), names)
        elif entry.HasField("nlsk"):
            yield _netlink(entry.nlsk)
        elif entry.HasField("psk"):
            yield _packet(entry.psk)


def _address(words: Message, family: int, port: int) -> str:
    data = b"".join(struct.pack("<I", int(word)) for word in words)
    try:
        address = ipaddress.ip_address(data[: 16 if family == 10 else 4])
    except ValueError as error:
        raise BadImage("an address does not parse", str(error)) from error
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def inet(own: Message, queue: tuple[str, int, int] = ("", 0, 0)) -> Socket:
    """A TCP, UDP or raw socket, with the beginning of what is unread and the lengths of its queues."""
    head, received, sent = queue
    family = int(own.family)
    return Socket(
        key=int(own.id),
        family=_FAMILIES.get(family, str(family)),
        type=_PROTOCOLS.get(int(own.proto), str(int(own.proto))),
        state=kernel_names.socket_state(int(own.state)),
        local=_address(own.src_addr, family, int(own.src_port)),
        peer=_address(own.dst_addr, family, int(own.dst_port)) if own.dst_port else "",
        receive_queue=received,
        send_queue=sent,
        backlog=int(own.backlog),
        head=head,
        **_common(own),
    )


def ends(socket: Socket) -> str:
    """Both ends, or its state where it has only one."""
    return f"{socket.local} -> {socket.peer}" if socket.peer else f"{socket.local} {socket.state}"


def _options(own: Message) -> tuple[str, ...]:
    """The options that are set: a flag by its name, a number with its value."""
    found = []
    for message in (own.opts, own.tcp_opts if own.DESCRIPTOR.name == "inet_sk_entry" else own.opts):
        for field, value in message.ListFields():
            name = field.name.removeprefix("so_").removeprefix("tcp_")
            if name in _NO_OPTIONS or not value or not isinstance(value, int):
                continue
            shown = name if field.type == field.TYPE_BOOL or name in _FLAGS else f"{name}={value}"
            found += [shown] if shown not in found else []
    return (*found, *(("v6only",) if getattr(own, "v6only", False) else ()))


def _common(own: Message) -> dict[str, Any]:
    """What every kind of socket has."""
    shutdown = int(own.shutdown) if "shutdown" in own.DESCRIPTOR.fields_by_name else 0
    return {
        "options": _options(own),
        "inode": int(getattr(own, "ino", 0)),
        "send_buffer": int(own.opts.so_sndbuf),
        "receive_buffer": int(own.opts.so_rcvbuf),
        "shutdown": _SHUTDOWN.get(shutdown, str(shutdown)),
    }


def _tcp_queue(folder: Folder, inode: int) -> tuple[str, int, int]:
    """The beginning of what is unread, its length, and that of what is not acknowledged."""
    name = f"tcp-stream-{inode:x}.img"
    if not folder.has(name):
        return "", 0, 0
    queues = folder.with_data(
        name, "TCP_STREAM", pb.tcp_stream_entry, lambda item: int(item.inq_len + item.outq_len)
    )
    for item, data in queues:
        unread = Data(data.file, data.offset, int(item.inq_len))
        return text(unread.read(most=HEAD)), int(item.inq_len), int(item.outq_len)
    raise BadImage(f"{name} is empty")


def _queues(folder: Folder) -> Mapping[int, tuple[Data, ...]]:
    """The messages that wait in unix sockets, by the socket's id."""
    if not folder.has("sk-queues.img"):
        return {}
    found: dict[int, tuple[Data, ...]] = {}
    for item, data in folder.with_data(
        "sk-queues.img", "SK_QUEUES", pb.sk_packet_entry, lambda item: int(item.length)
    ):
        found[int(item.id_for)] = (*found.get(int(item.id_for), ()), data)
    return found


def unix_name(own: Message) -> str:
    """A path, or an abstract name with @ for its NUL."""
    name = bytes(own.name)
    if name.startswith(b"\0"):
        return f"@{text(name[1:])}"
    return text(name.removesuffix(b"\0"))


def _unix(own: Message, waiting: tuple[Data, ...], names: Mapping[int, str]) -> Socket:
    peer = int(own.peer)
    return Socket(
        key=int(own.id),
        family="unix",
        type=kernel_names.socket_type(int(own.type)),
        state=kernel_names.socket_state(int(own.state)),
        local=unix_name(own) or f"inode {own.ino}",
        peer=(names.get(peer) or f"inode {peer}") if peer else "",
        receive_queue=sum(data.length for data in waiting),
        send_queue=0,
        backlog=int(own.backlog),
        head=text(waiting[0].read(most=HEAD)) if waiting else "",
        **_common(own),
    )


def _netlink(own: Message) -> Socket:
    return Socket(
        key=int(own.id),
        family="netlink",
        type=f"protocol {int(own.protocol)}",
        state=kernel_names.socket_state(int(own.state)),
        local=f"port {int(own.portid)}",
        peer=f"port {int(own.dst_portid)}" if own.dst_portid else "",
        receive_queue=0,
        send_queue=0,
        backlog=0,
        **_common(own),
    )


def _packet(own: Message) -> Socket:
    return Socket(
        key=int(own.id),
        family="packet",
        type=f"{kernel_names.socket_type(int(own.type))}, protocol {int(own.protocol)}",
        state="",
        local=f"interface {int(own.ifindex)}",
        peer="",
        receive_queue=0,
        send_queue=0,
        backlog=0,
        **_common(own),
    )
