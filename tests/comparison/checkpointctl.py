"""The fields of checkpointctl 1.3 (cmd/*.go, internal/json.go, internal/tree.go)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

from tests.comparison.told import (
    Compared,
    Facts,
    Field,
    Show,
    Told,
    end,
    not_shown,
    own_name,
    per_process,
    plain_path,
    socket_name,
)

_SHOW, _INSPECT = "checkpointctl show", "checkpointctl inspect --all"
_KUBERNETES = "of Kubernetes: there is none here"
_UNITS = "KMGTPE"


def in_units(count: int, suffix: str) -> str:
    """Bytes as checkpointctl writes them: 1.5 MiB, 1.5 MB."""
    if count < 1024:
        return f"{count} B"
    power = 1
    while count >= 1024 ** (power + 1):
        power += 1
    return f"{count / 1024**power:.1f} {_UNITS[power - 1]}{suffix}"


def _seconds(text: str) -> int:
    """An RFC 3339 time, without the fraction that only one of both keeps."""
    return int(datetime.datetime.fromisoformat(text).timestamp())


def _about(key: str) -> Callable[[Told], object]:
    return lambda told: told.ours["checkpoint"][key]


_HEAD: tuple[tuple[str, str, str, Callable[[Told], object] | None, str], ...] = (
    ("Container", "container_name", "checkpoint.container", _about("container"), ""),
    ("Image", "image", "checkpoint.image", _about("image"), ""),
    ("ID", "id", "checkpoint.container_id", _about("container_id"), ""),
    ("Runtime", "runtime", "checkpoint.runtime", _about("runtime"), ""),
    ("Engine", "engine", "", None, "says Podman of every archive of this layout; it is Docker"),
    ("IP", "ip", "checkpoint.addresses", None, "not shown of archives of this layout"),
    ("MAC", "mac", "checkpoint.macs", None, "not shown of archives of this layout"),
)


def _known(column: str, key: str, place: str, ours: Compared, *, short: bool) -> Iterator[Field]:
    own: Compared = (lambda told: str(ours(told))[:12]) if short else ours
    yield Field(_SHOW, column, place, lambda told: told.show[column], own)
    yield Field(_INSPECT, key, place, lambda told: told.described[key], ours)


def _head() -> Iterator[Field]:
    for column, key, place, ours, remark in _HEAD:
        if ours is not None:
            yield from _known(column, key, place, ours, short=key == "id")
            continue
        for of, name in ((_SHOW, column), (_INSPECT, key)):
            yield Field(of, name, place, remark=remark, shown_by="test_inspect" if place else "")
    for of, theirs in (
        (_SHOW, lambda told: _seconds(told.show["Created"])),
        (_INSPECT, lambda told: _seconds(told.described["created"])),
    ):
        name = "Created" if of == _SHOW else "created"
        yield Field(
            of, name, "checkpoint.created", theirs, lambda told: _seconds(told.ours["checkpoint"]["created"])
        )
    yield Field(
        _INSPECT,
        "checkpointed",
        "checkpoint.taken",
        lambda told: _seconds(told.described["checkpointed"]),
        lambda told: int(told.ours["checkpoint"]["taken"]),
    )


_SIZES: dict[str, tuple[str, Callable[[Told], int]]] = {
    "total_size": ("size", lambda told: int(told.ours["size"])),
    "memory_pages_size": ("pages", lambda told: int(told.ours["pages"])),
    "root_fs_diff_size": ("checkpoint.layer", lambda told: int(told.ours["checkpoint"]["layer"])),
}


def _size(key: str) -> Field:
    place, ours = _SIZES[key]
    return Field(
        _INSPECT, f"checkpoint_size.{key}", place, lambda told: told.described["checkpoint_size"][key], ours
    )


def _size_column(column: str, key: str) -> Field:
    place, ours = _SIZES[key]
    return Field(
        _SHOW, column, place, lambda told: told.show[column], lambda told: in_units(ours(told), "iB")
    )


def _statistic(key: str) -> Field:
    return Field(
        _INSPECT,
        f"statistics.{key}",
        f"statistics.{key}",
        lambda told: told.described["statistics"].get(key, 0),  # it leaves out what is zero
        lambda told: told.ours["statistics"][key],
    )


def _sizes() -> Iterator[Field]:
    yield from (_size(key) for key in _SIZES)
    yield _size_column("CHKPT Size", "total_size")
    yield _size_column("Root Fs Diff Size", "root_fs_diff_size")
    yield from not_shown(
        _INSPECT, "checkpoint_size.amd_gpu_memory_pages_size", why="no GPU's memory is dumped"
    )
    times = ("freezing_time", "frozen_time", "memdump_time", "memwrite_time")
    yield from (_statistic(key) for key in (*times, "pages_scanned", "pages_written"))


def _tree(node: Facts, parent: int = 0) -> Iterator[tuple[int, Facts]]:
    yield parent, node
    for child in node.get("children", ()):
        yield from _tree(child, node["pid"])


def _of_tree(key: str) -> Callable[[Told], object]:
    return lambda told: {node["pid"]: node.get(key) for _, node in _tree(told.described["process_tree"])}


def _environment(process: Facts) -> dict[str, str]:
    return dict(item.split("=", 1) for item in process["environment"] if item)


def _processes() -> Iterator[Field]:
    of = "process_tree"
    yield Field(
        _INSPECT, f"{of}.pid", "processes[].pid", _of_tree("pid"), per_process(lambda process: process["pid"])
    )
    yield Field(
        _INSPECT,
        f"{of}.command",
        "processes[].name",
        _of_tree("command"),
        per_process(lambda one: one["name"]),
    )
    yield Field(
        _INSPECT,
        f"{of}.cmdline",
        "processes[].command_line",
        _of_tree("cmdline"),
        per_process(lambda process: "".join(f"{word} " for word in process["command_line"])),
    )
    yield Field(
        _INSPECT,
        f"{of}.environment_variables",
        "processes[].environment",
        _of_tree("environment_variables"),
        per_process(_environment),
    )
    yield Field(
        _INSPECT,
        f"{of}.children",
        "processes[].parent",
        lambda told: {node["pid"]: parent for parent, node in _tree(told.described["process_tree"])},
        per_process(lambda process: process["parent"]),
    )


def _opened(told: Told, key: str) -> dict[tuple[int, str], str]:
    """A key of each open file by process and descriptor, `cwd` and `root` among them."""
    return {
        (table["pid"], file["fd"].split()[-1]): file[key]
        for table in told.described["file_descriptors"]
        for file in table.get("open_files", ())
    }


def kind_of(file: Facts) -> str:
    """CRIU's word for a kind of file of ours."""
    kind = str(file["kind"])
    known = {"file": "REG", "unix": "UNIXSK", "netlink": "NETLINKSK", "packet": "PACKETSK"}
    return known.get(kind, "INETSK" if kind in ("tcp", "udp", "icmp") else kind.upper())


def _our_files(told: Told) -> Iterator[tuple[int, Facts]]:
    for process in told.processes():
        for file in process["files"]:
            yield process["pid"], file


def path_of(told: Told, file: Facts) -> str:
    """A file of ours in checkpointctl's words."""
    kind = kind_of(file)
    if kind == "REG":
        return str(file["what"])
    if kind == "PIPE":
        return str(file["what"]).replace("pipe ", "pipe[") + "]"
    if kind == "UNIXSK":
        socket = next(item for item in told.ours["sockets"] if item["key"] == file["key"])
        return f"unix[{socket['inode']} ({peer_inode(told, socket)}) {own_name(socket)}]"
    return f"{kind}.{file['key']}"


def peer_inode(told: Told, socket: Facts) -> int:
    """The inode of a unix socket's other end, which is shown by its name where it has one."""
    peer = str(socket["peer"])
    if peer.startswith("inode "):
        return int(peer.removeprefix("inode "))
    return next((int(item["inode"]) for item in told.ours["sockets"] if peer and item["local"] == peer), 0)


def _their_path(path: str) -> str:
    if path.startswith("unix["):
        head, _, name = path.removesuffix("]").partition(") ")
        return f"{head}) {socket_name(name)}]"
    return path if path.startswith("pipe[") or not path.startswith(("/", ".")) else plain_path(path)


def _places(told: Told) -> dict[tuple[int, str], str]:
    found = {(pid, str(file["descriptor"])): path_of(told, file) for pid, file in _our_files(told)}
    for process in told.processes():
        found[process["pid"], "cwd"] = process["working_directory"]
        found[process["pid"], "root"] = process["root"]
    return found


def _files() -> Iterator[Field]:
    of = "file_descriptors"
    yield Field(
        _INSPECT,
        f"{of}.pid",
        "processes[].pid",
        lambda told: sorted(table["pid"] for table in told.described[of]),
        lambda told: sorted(process["pid"] for process in told.processes()),
    )
    yield Field(
        _INSPECT,
        f"{of}.open_files.fd",
        "processes[].files[].descriptor, working_directory, root",
        lambda told: sorted(_opened(told, "fd")),
        lambda told: sorted(_places(told)),
    )
    yield Field(
        _INSPECT,
        f"{of}.open_files.type",
        "processes[].files[].kind",
        lambda told: {key: kind for key, kind in _opened(told, "type").items() if kind},
        lambda told: {(pid, str(file["descriptor"])): kind_of(file) for pid, file in _our_files(told)},
    )
    yield Field(
        _INSPECT,
        f"{of}.open_files.path",
        "processes[].files[].what, working_directory, root",
        lambda told: {key: _their_path(path) for key, path in _opened(told, "path").items()},
        _places,
    )


def _state(socket: Facts) -> str:
    known = {"listening": "LISTEN"}
    state = str(socket["state"])
    return known.get(state, state.upper().replace("-", "_"))


def _is_inet(socket: Facts) -> bool:
    return socket["family"] in ("inet", "inet6")


_SOCKET: tuple[tuple[str, str, str, Callable[[Facts], Any], Any], ...] = (
    ("protocol", "protocol", "type", lambda item: item["type"].upper() if _is_inet(item) else "", ""),
    (
        "data.type",
        "type",
        "family, type",
        lambda item: item["type"].upper() if _is_inet(item) else item["family"].upper(),
        "",
    ),
    ("data.address", "address", "local", lambda item: own_name(item) if item["family"] == "unix" else "", ""),
    ("data.state", "state", "state", lambda item: _state(item) if _is_inet(item) else "", ""),
    ("data.src", "src", "local", lambda item: end(item["local"])[0] if _is_inet(item) else "", ""),
    ("data.src_port", "src_port", "local", lambda item: end(item["local"])[1] if _is_inet(item) else 0, 0),
    ("data.dst", "dst", "peer", lambda item: end(item["peer"])[0] if _is_inet(item) else "", ""),
    ("data.dst_port", "dst_port", "peer", lambda item: end(item["peer"])[1] if _is_inet(item) else 0, 0),
    ("data.send_buf", "send_buf", "send_buffer", lambda item: _buffer(item, "send_buffer"), ""),
    ("data.recv_buf", "recv_buf", "receive_buffer", lambda item: _buffer(item, "receive_buffer"), ""),
)


def _buffer(socket: Facts, key: str) -> str:
    """It shows none of a unix socket."""
    return "" if socket["family"] == "unix" else in_units(socket[key], "B")


def _their_sockets(told: Told, key: str, missing: Any) -> list[tuple[int, Any]]:
    found = []
    for table in told.described["sockets"]:
        for socket in table.get("open_sockets", ()):
            value = socket.get(key, missing) if key == "protocol" else socket["data"].get(key, missing)
            found.append((table["pid"], socket_name(value) if key == "address" else value))
    return found


def _socket(name: str, key: str, place: str, ours: Show, missing: object) -> Field:
    return Field(
        _INSPECT,
        f"sockets.open_sockets.{name}",
        ", ".join(f"sockets[].{part}" for part in place.split(", ")),
        lambda told: _their_sockets(told, key, missing),
        lambda told: [(pid, ours(socket)) for pid, socket in told.sockets()],
    )


def _sockets() -> Iterator[Field]:
    yield Field(
        _INSPECT,
        "sockets.pid",
        "processes[].files[].key, sockets[].key",
        lambda told: [pid for pid, _ in _their_sockets(told, "protocol", "")],
        lambda told: [pid for pid, _ in told.sockets()],
    )
    yield from (_socket(*line) for line in _SOCKET)


def _mount(key: str, place: str, ours: Show) -> Field:
    return Field(
        _INSPECT,
        f"mounts.{key}",
        f"checkpoint.mounts[].{place}",
        lambda told: [mount[key] for mount in told.described["mounts"]],
        lambda told: [ours(mount) for mount in told.ours["checkpoint"]["mounts"]],
        remark="`mounts[]` has the whole mount table" if key == "source" else "",
    )


def _mounts() -> Iterator[Field]:
    yield _mount("destination", "destination", lambda mount: mount["destination"])
    yield _mount("type", "kind", lambda mount: "tmpfs" if mount["kind"] == "tmpfs" else "bind")
    yield _mount("source", "source", lambda mount: mount["source"])


def _annotations() -> Iterator[Field]:
    yield from not_shown(_INSPECT, "Metadata: Pod name", "Metadata: Kubernetes namespace", why=_KUBERNETES)
    yield from not_shown(_INSPECT, "Metadata: Annotations", why="of the archive: which tool may read it")
    yield from not_shown("checkpointctl list", "Namespace", "Pod", why=_KUBERNETES)
    yield Field(
        "checkpointctl list",
        "Container, Engine, Time Checkpointed, Checkpoint Name",
        "guardianctl checkpoints",
        shown_by="test_checkpoints",
        remark="it lists archives below Kubernetes' folder, guardianctl its own checkpoints",
    )


FIELDS: tuple[Field, ...] = (
    *_head(),
    *_sizes(),
    *_processes(),
    *_files(),
    *_sockets(),
    *_mounts(),
    *_annotations(),
)
