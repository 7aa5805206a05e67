"""Open files, sockets, pipes, locks and mounts, as CRIU's images have them."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pycriu.images import pb

from guardian.host.images import kernel_names
from guardian.host.images.folder import BadImage, Data, Folder, Message
from guardian.host.images.text import path, text
from guardian.model.inspection import Lock, Mount, OpenFile, Pipe, Socket

HEAD = 64
"""Bytes shown of what lies in a pipe or a socket."""
_CLOSE_ON_EXEC = 1
_FAMILIES = {1: "unix", 2: "inet", 10: "inet6"}
_TCP = 6
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}
_LOCK_KINDS = {1: "posix", 2: "flock", 1024: "ofd", 32: "lease"}
_LOCK_MODES = {0: "read", 1: "write", 2: "unlocked", 64: "read", 128: "write", 192: "none"}
_DELETED = " (deleted)"
_NOTHING_QUEUED = ("", 0, 0)


class OpenFiles:
    """What files.img knows, by id: open files of every kind."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._entries: dict[int, Message] = {}
        if folder.has("files.img"):
            for entry in folder.messages("files.img", "FILES", pb.file_entry):
                self._entries[int(entry.id)] = entry
        self._ghosts = _ghosts(folder)
        self._memfds = _memfds(folder)
        self._terminals = _terminals(folder)

    def path_of(self, id: int) -> str:
        """The path of a regular file, empty where there is none of this id."""
        entry = self._entries.get(id)
        if entry is None or not entry.HasField("reg"):
            return self._memfd_name(entry) if entry is not None and entry.HasField("memfd") else ""
        return path(entry.reg.name).removesuffix(_DELETED)

    def size_of(self, id: int) -> int:
        """The size of a regular file at the dump, -1 where it was not written down."""
        entry = self._entries.get(id)
        known = entry is not None and entry.HasField("reg") and entry.reg.HasField("size")
        return int(entry.reg.size) if entry is not None and known else -1

    def _memfd_name(self, entry: Message) -> str:
        inode = self._memfds.get(int(entry.memfd.inode_id))
        return f"memfd:{text(inode.name)}" if inode is not None else "memfd"

    def shared_memory(self, id: int) -> int:
        """The id of the shared memory behind a memfd, 0 where the file is none."""
        entry = self._entries.get(id)
        inode = (
            self._memfds.get(int(entry.memfd.inode_id))
            if entry is not None and entry.HasField("memfd")
            else None
        )
        return int(inode.shmid) if inode is not None else 0

    def is_deleted(self, id: int) -> bool:
        """Whether the file has no name any more."""
        entry = self._entries.get(id)
        return id in self._ghosts or (entry is not None and text(entry.reg.name).endswith(_DELETED))

    def of(self, files_id: int) -> tuple[OpenFile, ...]:
        """The descriptors of a table, in order."""
        name = f"fdinfo-{files_id}.img"
        if not self._folder.has(name):
            return ()
        found = [self._shown(item) for item in self._folder.messages(name, "FDINFO", pb.fdinfo_entry)]
        return tuple(sorted(found, key=lambda file: file.descriptor))

    def _shown(self, item: Message) -> OpenFile:
        entry = self._entries.get(int(item.id))
        kind, what, extra = self._describe(entry)
        own = _own(entry)
        return OpenFile(
            descriptor=int(item.fd),
            kind=kind,
            what=what,
            key=int(item.id),
            flags=kernel_names.open_flags(int(own.flags)) if hasattr(own, "flags") else (),
            close_on_exec=bool(item.flags & _CLOSE_ON_EXEC),
            position=int(getattr(own, "pos", -1)),
            size=extra if extra is not None else int(getattr(own, "size", 0)) if kind == "file" else -1,
            deleted=kind == "file" and self.is_deleted(int(item.id)),
        )

    def _describe(self, entry: Message | None) -> tuple[str, str, int | None]:
        """The kind of an open file, which one it is, and its size where that is kept elsewhere."""
        if entry is None:
            return "unknown", "not in files.img", None
        which = next((name for name in _DESCRIPTIONS if entry.HasField(name)), "")
        if not which:
            return "unknown", f"type {int(entry.type)}", None
        kind, describe = _DESCRIPTIONS[which]
        own, size = getattr(entry, which), None
        what = describe(own)
        match which:
            case "isk":
                kind = _inet(own, _NOTHING_QUEUED).type
            case "memfd":
                what = self._memfd_name(entry)
                inode = self._memfds.get(int(own.inode_id))
                size = int(inode.size) if inode is not None else None
            case "tty":
                what = self._terminals.get(int(own.tty_info_id), "a terminal")
        return kind, what, size

    def sockets(self) -> Iterator[Socket]:
        """Every TCP, UDP and unix socket."""
        queues = _queues(self._folder)
        for entry in self._entries.values():
            if entry.HasField("isk"):
                yield _inet(entry.isk, _tcp_queue(self._folder, int(entry.isk.ino)))
            elif entry.HasField("usk"):
                yield _unix(entry.usk, queues.get(int(entry.usk.id), ()), self._unix_names())

    def _unix_names(self) -> Mapping[int, str]:
        return {
            int(entry.usk.ino): _unix_name(entry.usk)
            for entry in self._entries.values()
            if entry.HasField("usk")
        }


def _own(entry: Message | None) -> object:
    """The part of an entry that is about its kind."""
    for name in _DESCRIPTIONS:
        if entry is not None and entry.HasField(name):
            return getattr(entry, name)
    return object()


_DESCRIPTIONS: Mapping[str, tuple[str, Callable[[Message], str]]] = {
    "reg": ("file", lambda own: path(own.name).removesuffix(_DELETED)),
    "isk": ("inet", lambda own: _ends(_inet(own, _NOTHING_QUEUED))),
    "memfd": ("memfd", lambda _: ""),
    "tty": ("tty", lambda _: ""),
    "usk": ("unix", lambda own: _unix_name(own) or f"inode {own.ino}, peer {own.peer}"),
    "pipe": ("pipe", lambda own: f"pipe {own.pipe_id}"),
    "fifo": ("fifo", lambda own: f"pipe {own.pipe_id}"),
    "efd": ("eventfd", lambda own: f"counter {own.counter}"),
    "epfd": ("epoll", lambda own: f"waits for {len(own.tfd)}: {_descriptors(own.tfd)}"),
    "tfd": (
        "timerfd",
        lambda own: f"in {own.vsec + own.vnsec / 1e9:g} s, every {own.isec + own.insec / 1e9:g} s",
    ),
    "sgfd": ("signalfd", lambda own: ", ".join(kernel_names.signals(int(own.sigmask)))),
    "ify": ("inotify", lambda own: f"{len(own.wd)} watches"),
    "ffy": ("fanotify", lambda own: f"{len(own.mark)} marks"),
    "nlsk": ("netlink", lambda own: f"protocol {own.protocol}, port {own.portid}"),
    "psk": ("packet", lambda own: f"protocol {own.protocol}"),
    "nsf": ("namespace", lambda own: f"namespace {own.ns_id}"),
    "tunf": ("tun", lambda own: text(own.netdev)),
    "ext": ("external", lambda _: "kept by a plug-in"),
    "bpf": ("bpf-map", lambda own: text(own.map_name)),
    "pidfd": ("pidfd", lambda own: f"process {own.nspid}"),
}


def _descriptors(items: Message) -> str:
    return ", ".join(str(item.tfd) for item in items[:20])


def _ghosts(folder: Folder) -> Mapping[int, str]:
    """The images of deleted files, by the id of the open file."""
    if not folder.has("remap-fpath.img"):
        return {}
    found = {}
    for item in folder.messages("remap-fpath.img", "REMAP_FPATH", pb.remap_file_path_entry):
        kind = int(item.remap_type) if item.HasField("remap_type") else int(pb.GHOST)
        if kind in (int(pb.GHOST), int(pb.LINKED)):
            found[int(item.orig_id)] = f"ghost-file-{int(item.remap_id):x}.img"
    return found


def ghosts(folder: Folder) -> Iterator[tuple[str, str]]:
    """The path that each deleted file had, and the image with its content."""
    files = OpenFiles(folder)
    for id, image in _ghosts(folder).items():
        if folder.has(image):
            yield files.path_of(id), image


def _memfds(folder: Folder) -> Mapping[int, Message]:
    if not folder.has("memfd.img"):
        return {}
    found = folder.messages("memfd.img", "MEMFD_INODE", pb.memfd_inode_entry)
    return {int(item.inode_id): item for item in found}


def _terminals(folder: Folder) -> Mapping[int, str]:
    if not folder.has("tty-info.img"):
        return {}
    found = {}
    for item in folder.messages("tty-info.img", "TTY_INFO", pb.tty_info_entry):
        size = f", {item.winsize.ws_row}x{item.winsize.ws_col}" if item.HasField("winsize") else ""
        name = f"pts/{item.pty.index}" if item.HasField("pty") else "console"
        found[int(item.id)] = f"{name}, session {item.sid}, foreground {item.pgrp}{size}"
    return found


def _address(words: Message, family: int, port: int) -> str:
    data = b"".join(struct.pack("<I", int(word)) for word in words)
    try:
        address = ipaddress.ip_address(data[: 16 if family == 10 else 4])
    except ValueError as error:
        raise BadImage("an address does not parse", str(error)) from error
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _inet(own: Message, queue: tuple[str, int, int]) -> Socket:
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
        options=_options(own.opts),
    )


def _ends(socket: Socket) -> str:
    return f"{socket.local} -> {socket.peer}" if socket.peer else f"{socket.local} {socket.state}"


def _options(opts: Message) -> tuple[str, ...]:
    names = ("reuseaddr", "reuseport", "keepalive", "broadcast", "passcred", "no_check", "oobinline")
    return tuple(name for name in names if getattr(opts, f"so_{name}", False) or getattr(opts, name, False))


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


def _unix_name(own: Message) -> str:
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
        local=_unix_name(own) or f"inode {own.ino}",
        peer=(names.get(peer) or f"inode {peer}") if peer else "",
        receive_queue=sum(data.length for data in waiting),
        send_queue=0,
        backlog=int(own.backlog),
        head=text(waiting[0].read(most=HEAD)) if waiting else "",
        options=_options(own.opts),
    )


def pipes(folder: Folder) -> Iterator[Pipe]:
    """Every pipe and fifo that has something in it."""
    for kind, name, magic in (
        ("pipe", "pipes-data.img", "PIPES_DATA"),
        ("fifo", "fifo-data.img", "FIFO_DATA"),
    ):
        if not folder.has(name):
            continue
        for item, data in folder.with_data(name, magic, pb.pipe_data_entry, lambda item: int(item.bytes)):
            yield Pipe(int(item.pipe_id), kind, data.length, text(data.read(most=HEAD)))


def locks(folder: Folder) -> Iterator[Lock]:
    """Every lock on a file."""
    if not folder.has("filelocks.img"):
        return
    for item in folder.messages("filelocks.img", "FILE_LOCKS", pb.file_lock_entry):
        yield Lock(
            kind=_LOCK_KINDS.get(int(item.flag), str(int(item.flag))),
            mode=_LOCK_MODES.get(int(item.type), str(int(item.type))),
            process=int(item.pid),
            descriptor=int(item.fd),
            start=int(item.start),
            length=int(item.len),
        )


def mounts(folder: Folder) -> Iterator[Mount]:
    """The mounts of the container's namespace; that of the dumping host's, where CRIU kept it, is left out."""
    names = [name for name in folder.names() if re.fullmatch(r"mountpoints-[0-9]+\.img", name)]
    for name in names:
        for item in folder.messages(name, "MNTS", pb.mnt_entry):
            yield Mount(
                id=int(item.mnt_id),
                parent=int(item.parent_mnt_id),
                target=path(item.mountpoint),
                type=text(item.fsname) if item.fsname else _file_system(int(item.fstype)),
                source=text(item.source),
                root=text(item.root),
                options=text(item.options),
                external=bool(item.ext_mount),
            )


def _file_system(number: int) -> str:
    """A kind of file system; one on a disk is not dumped and has no number of its own."""
    name = str(pb.fstype.Name(number)).lower() if number in pb.fstype.values() else str(number)
    return "disk" if name == "unsupported" else name


def tmpfs(folder: Folder) -> Iterator[tuple[str, Path]]:
    """Where each tmpfs whose content is in the images was mounted, and the archive (tar, gzip) with it."""
    for name in (name for name in folder.names() if re.fullmatch(r"mountpoints-[0-9]+\.img", name)):
        for item in folder.messages(name, "MNTS", pb.mnt_entry):
            if text(item.root) != "/":
                continue  # one file of it, mounted over another
            for image in (
                f"tmpfs-dev-{int(item.root_dev)}.tar.gz.img",
                f"tmpfs-{int(item.mnt_id)}.tar.gz.img",
            ):
                if folder.has(image):
                    with contextlib.suppress(OSError):
                        yield path(item.mountpoint), folder.path / image
                    break
