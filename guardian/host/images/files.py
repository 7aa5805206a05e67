"""Open files, sockets, pipes, locks and mounts, as CRIU's images have them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pycriu.images import pb

from guardian.host.images import kernel_names, sockets
from guardian.host.images.folder import Folder, Message
from guardian.host.images.text import path, text
from guardian.model.inspection import Lock, Mount, OpenFile, Pipe, Socket

_CLOSE_ON_EXEC = 1
_LOCK_KINDS = {1: "posix", 2: "flock", 1024: "ofd", 32: "lease"}
_LOCK_MODES = {0: "read", 1: "write", 2: "unlocked", 64: "read", 128: "write", 192: "none"}
_DELETED = " (deleted)"


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
            mode=int(own.mode) if kind == "file" and own.HasField("mode") else -1,
            mount=int(own.mnt_id) if kind == "file" and own.HasField("mnt_id") else -1,
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
                kind = sockets.inet(own).type
            case "memfd":
                what = self._memfd_name(entry)
                inode = self._memfds.get(int(own.inode_id))
                size = int(inode.size) if inode is not None else None
            case "tty":
                what = self._terminals.get(int(own.tty_info_id), "a terminal")
        return kind, what, size

    def sockets(self) -> Iterator[Socket]:
        """Every TCP, UDP, unix, netlink and packet socket."""
        return sockets.all_of(self._folder, self._entries.values())


def _own(entry: Message | None) -> Any:
    """The part of an entry that is about its kind."""
    for name in _DESCRIPTIONS:
        if entry is not None and entry.HasField(name):
            return getattr(entry, name)
    return object()


_DESCRIPTIONS: Mapping[str, tuple[str, Callable[[Message], str]]] = {
    "reg": ("file", lambda own: path(own.name).removesuffix(_DELETED)),
    "isk": ("inet", lambda own: sockets.ends(sockets.inet(own))),
    "memfd": ("memfd", lambda _: ""),
    "tty": ("tty", lambda _: ""),
    "usk": ("unix", lambda own: sockets.unix_name(own) or f"inode {own.ino}, peer {own.peer}"),
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


def pipes(folder: Folder) -> Iterator[Pipe]:
    """Every pipe and fifo that has something in it."""
    for kind, name, magic in (
        ("pipe", "pipes-data.img", "PIPES_DATA"),
        ("fifo", "fifo-data.img", "FIFO_DATA"),
    ):
        if not folder.has(name):
            continue
        for item, data in folder.with_data(name, magic, pb.pipe_data_entry, lambda item: int(item.bytes)):
            head = text(data.read(most=sockets.HEAD))
            yield Pipe(int(item.pipe_id), kind, data.length, head, int(item.size))


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
                flags=kernel_names.mount_flags(int(item.flags)),
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
