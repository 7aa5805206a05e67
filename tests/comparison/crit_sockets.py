"""The fields that `crit decode` prints of sockets."""

from __future__ import annotations

import base64
import ipaddress
import operator
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tests.comparison.checkpointctl import peer_inode
from tests.comparison.crit_files import FILES, entries, of_open, open_flags, our_flags
from tests.comparison.told import Facts, Field, Show, Told, dig, end, not_shown, number, own_name, socket_name

_STATES = (
    *("", "established", "syn-sent", "syn-received", "fin-wait-1", "fin-wait-2", "time-wait", "close"),
    *("close-wait", "last-ack", "listening", "closing", "syn-received"),
)
_SHUTDOWN = {"": "", "0": "", "1": "read", "2": "write", "3": "both"}
_FAMILIES = {"isk": ("inet", "inet6"), "usk": ("unix",)}
_WORDS = {
    "family": {"2": "inet", "10": "inet6", "inet": "inet", "inet6": "inet6"},
    "isk.type": {"1": "tcp", "2": "udp", "stream": "tcp", "dgram": "udp"},
    "proto": {"6": "tcp", "17": "udp"},
    "usk.type": {"1": "stream", "2": "dgram", "5": "seqpacket"},
}


def _word(what: str) -> Show:
    return lambda value: _WORDS[what].get(str(value).lower(), str(value).lower())


def _socket(
    which: str, name: str, place: str, theirs: Show, ours: Callable[[Told, Facts], object], default: Any = 0
) -> Field:
    return Field(
        FILES,
        f"{which}.{name}",
        f"sockets[].{place}",
        lambda told: {key: theirs(dig(entry, name, default)) for key, entry in entries(told, which).items()},
        lambda told: {
            item["key"]: ours(told, item)
            for item in told.ours["sockets"]
            if item["family"] in _FAMILIES[which]
        },
    )


def _same(which: str, name: str, key: str, theirs: Show = number, default: Any = 0) -> Field:
    """A field that is a key of ours."""
    return _socket(which, name, key, theirs, lambda _, item: item[key], default)


def _address(words: list[Any]) -> str:
    if words and isinstance(words[0], str):  # crit writes an address as text
        return str(ipaddress.ip_address(words[0]))
    data = b"".join(struct.pack("<I", number(word)) for word in words)
    return str(ipaddress.ip_address(data)) if data else "0.0.0.0"


def _their_options(told: Told) -> dict[int, dict[str, int]]:
    """The options that are set, by the socket's id."""
    found = {}
    for key, entry in (entries(told, "isk") | entries(told, "usk")).items():
        options = {**entry.get("opts", {}), **entry.get("tcp_opts", {}), "v6only": entry.get("v6only", False)}
        found[key] = {
            name.removeprefix("so_").removeprefix("tcp_"): int(value)
            for name, value in options.items()
            if value and not isinstance(value, list) and name not in ("so_sndbuf", "so_rcvbuf")
        }
    return found


def _our_options(told: Told) -> dict[int, dict[str, int]]:
    found = {}
    for item in told.ours["sockets"]:
        pairs = [option.partition("=") for option in item["options"]]
        found[item["key"]] = {name: int(value or 1) for name, _, value in pairs}
    return found


def _both() -> Iterator[Field]:
    """What TCP and unix sockets have in common."""
    for which in ("isk", "usk"):
        yield _same(which, "id", "key")
        yield _same(which, "ino", "inode")
        yield _same(which, "state", "state", lambda value: _STATES[number(value)])
        yield _same(which, "backlog", "backlog")
        yield _same(
            which, "shutdown", "shutdown", lambda value: _SHUTDOWN.get(str(value), str(value).lower()), ""
        )
        yield _same(which, "opts.so_sndbuf", "send_buffer")
        yield _same(which, "opts.so_rcvbuf", "receive_buffer")
        for name in ("opts.*", "tcp_opts.*", "v6only")[: 3 if which == "isk" else 1]:
            yield Field(FILES, f"{which}.{name}", "sockets[].options", _their_options, _our_options)
        yield of_open(which, "flags", "flags", open_flags, our_flags)
        yield from not_shown(FILES, f"{which}.fown.*", f"{which}.ns_id")


def _inet() -> Iterator[Field]:
    yield _same("isk", "family", "family", _word("family"))
    yield _same("isk", "type", "type", _word("isk.type"))
    yield _same("isk", "proto", "type", _word("proto"))
    yield _socket("isk", "src_addr", "local", _address, lambda _, item: end(item["local"])[0], [])
    yield _socket("isk", "src_port", "local", number, lambda _, item: end(item["local"])[1])
    yield _socket("isk", "dst_addr", "peer", _address, lambda _, item: end(item["peer"])[0], [])
    yield _socket("isk", "dst_port", "peer", number, lambda _, item: end(item["peer"])[1])
    yield from not_shown(FILES, "isk.ip_opts.*", "isk.ifname")


def _unix() -> Iterator[Field]:
    yield _same("usk", "type", "type", _word("usk.type"))
    yield _socket("usk", "name", "local", socket_name, lambda _, item: own_name(item), "")
    yield _socket("usk", "peer", "peer", number, peer_inode)
    others = ("uflags", "file_perms.*", "name_dir", "deleted", "mnt_id")
    yield from not_shown(FILES, *(f"usk.{name}" for name in others))


def _waiting(told: Told) -> dict[int, int]:
    """Bytes that wait in each unix socket."""
    found: dict[int, int] = {}
    for entry in told.image("sk-queues.img"):
        found[entry["id_for"]] = found.get(entry["id_for"], 0) + entry["length"]
    return found


def _our_waiting(told: Told) -> dict[int, int]:
    sockets = (item for item in told.ours["sockets"] if item["family"] == "unix" and item["receive_queue"])
    return {item["key"]: item["receive_queue"] for item in sockets}


def _beginning(entry: Facts) -> str:
    return base64.b64decode(entry["extra"])[:64].decode("utf-8", "backslashreplace")


def _stream(name: str, key: str) -> Field:
    return Field(
        "crit decode tcp-stream-INODE.img",
        name,
        f"sockets[].{key}",
        lambda told: {
            int(image.removeprefix("tcp-stream-").removesuffix(".img"), 16): found[0][name]
            for image, found in told.images.items()
            if image.startswith("tcp-stream-")
        },
        lambda told: {
            item["inode"]: item[key]
            for item in told.ours["sockets"]
            if item["type"] == "tcp" and item["state"] != "listening"
        },
    )


def _pipe(name: str, key: str) -> Field:
    return Field(
        "crit decode pipes-data.img",
        name,
        f"pipes[].{key}",
        lambda told: [entry.get(name, 0) for entry in told.image("pipes-data.img")],
        lambda told: [operator.itemgetter(key)(pipe) for pipe in told.ours["pipes"]],
    )


def _queues() -> Iterator[Field]:
    for name, key in (("pipe_id", "id"), ("bytes", "length"), ("size", "capacity")):
        yield _pipe(name, key)
    for name in ("id_for", "length"):
        yield Field("crit decode sk-queues.img", name, "sockets[].receive_queue", _waiting, _our_waiting)
    yield from not_shown("crit decode sk-queues.img", "scm.*")
    yield Field(
        "crit decode pipes-data.img",
        "extra",
        "pipes[].head",
        lambda told: [_beginning(entry) for entry in told.image("pipes-data.img")],
        lambda told: [pipe["head"] for pipe in told.ours["pipes"]],
        remark="the first 64 bytes",
    )
    yield Field(
        "crit decode sk-queues.img",
        "extra",
        "sockets[].head",
        lambda told: {entry["id_for"]: _beginning(entry) for entry in reversed(told.image("sk-queues.img"))},
        lambda told: {
            item["key"]: item["head"] for item in told.ours["sockets"] if item["key"] in _waiting(told)
        },
        remark="the first 64 bytes",
    )
    yield _stream("inq_len", "receive_queue")
    yield _stream("outq_len", "send_queue")
    yield from not_shown("crit decode tcp-stream-INODE.img", "*")


FIELDS: tuple[Field, ...] = (*_both(), *_inet(), *_unix(), *_queues())
