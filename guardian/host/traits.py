"""What a container's processes have about them, from /proc: nothing is stopped, written or entered."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from guardian.host import mountinfo, proc
from guardian.host.command import CommandFailed, run
from guardian.host.mountinfo import Mounted
from guardian.host.runc import RuncContainer
from guardian.host.space import memory_of_process
from guardian.model.container import Container
from guardian.model.traits import FUSE, Deleted, Descriptor, Mapping, Process, Traits

_SPACES = ("mnt", "net", "pid", "user", "uts", "ipc", "cgroup", "time")
_DELETED = " (deleted)"
_NO_FILES = ("/memfd:", "/dev/zero", "/SYSV", "/[aio]", "/anon_hugepage")
_SYS_RESOURCE = 1 << 24
_WATCH = re.compile(r"^(?:inotify|fanotify) .*?\bsdev:([0-9a-f]+)", re.MULTILINE)
_STREAM_TYPES = ("0001", "0005")
_CONNECTED = "03"
_LIMIT = 5.0
_GONE = (FileNotFoundError, ProcessLookupError)


def of(container: Container, known: RuncContainer, pids: Sequence[int]) -> Traits:
    """What is seen of a container whose init is `known.pid`; processes that end meanwhile are left out."""
    family = _family(known.pid, pids)
    spaces = _spaces(known.pid)
    mounts = _mounted(known.pid)
    overlay = _overlay(mounts)
    processes, memory, inodes = [], 0, set()
    for pid in pids:
        with contextlib.suppress(*_GONE):
            status = Path(f"/proc/{pid}/status").read_bytes().decode(errors="replace")
            memory += memory_of_process(pid)
            if pid in family:
                process = _process(pid, status, spaces, overlay)
                processes.append(process)
                inodes |= {
                    item.link[8:-1] for item in process.descriptors if item.link.startswith("socket:[")
                }
    fuse, ties = mounts_of(mounts)
    return Traits(
        processes=tuple(processes),
        strangers=tuple(
            seen.name for pid in pids if pid not in family and (seen := proc.stat(pid)) is not None
        ),
        linked=tuple(linked(known.pid, inodes)),
        fuse=tuple(fuse),
        binds=tuple(
            (mount.destination, ties.get(mount.destination, ""))
            for mount in container.mounts
            if mount.kind == "bind"
        ),
        memory=memory,
        resource_right=_may_ask_limits(),
        plugins=any(Path("/usr/lib/criu").glob("*.so")),
    )


def serves_files(pids: Sequence[int]) -> bool:
    """Whether one of these processes serves a FUSE file system. Nothing is asked of a file system."""
    for pid in pids:
        with contextlib.suppress(*_GONE):
            for entry in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(*_GONE):
                    if os.readlink(f"/proc/{pid}/fd/{entry}") == FUSE:
                        return True
    return False


def _family(init: int, pids: Sequence[int]) -> set[int]:
    """Init and what is below it."""
    parents = {pid: seen.parent for pid in pids if (seen := proc.stat(pid)) is not None}
    family, found = {init}, {init}
    while found:
        found = {pid for pid, parent in parents.items() if parent in found and pid not in family}
        family |= found
    return family


def _process(pid: int, status: str, spaces: dict[str, str], overlay: int) -> Process:
    fields = dict(line.partition(":\t")[::2] for line in status.split("\n"))
    descriptors: list[Descriptor] = []
    ghosts: list[Deleted] = []
    watches = False
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(*_GONE):
            found = _descriptor(f"/proc/{pid}/fd/{entry}")
            descriptors.append(found)
            ghosts += _ghost(f"/proc/{pid}/fd/{entry}", found.link)
            if found.link in ("anon_inode:inotify", "anon_inode:[fanotify]") and overlay:
                watches = watches or overlay in watched(Path(f"/proc/{pid}/fdinfo/{entry}").read_text())
    mappings, first_code = mapped(Path(f"/proc/{pid}/maps").read_bytes().decode(errors="replace"))
    own = _spaces(pid)
    return Process(
        name=fields.get("Name", ""),
        user=int(fields.get("Uid", "0").split()[0]),
        tracer=int(fields.get("TracerPid", "0")),
        spaces=tuple(name for name in _SPACES if own.get(name, "") != spaces.get(name, "")),
        descriptors=tuple(descriptors),
        deleted=tuple(ghosts),
        mappings=tuple(mappings),
        first_code=first_code,
        watches_overlay=watches,
    )


def _descriptor(path: str) -> Descriptor:
    link = os.readlink(path)
    if link.startswith("socket:["):
        protocol = ""
        with contextlib.suppress(OSError):
            protocol = os.getxattr(path, "system.sockprotoname").rstrip(b"\0").decode(errors="replace")
        return Descriptor(link, protocol=protocol)
    if link.startswith("/dev/"):
        # Only what is below /dev is looked at: a file of a file system that hangs would hang us.
        seen = os.stat(path)
        if seen.st_rdev:
            return Descriptor(link, device=(os.major(seen.st_rdev), os.minor(seen.st_rdev)))
    return Descriptor(link)


def _ghost(path: str, link: str) -> Iterator[Deleted]:
    if link.endswith(_DELETED) and not link.startswith(_NO_FILES):
        seen = os.stat(path)
        if not seen.st_nlink:
            yield Deleted(link.removesuffix(_DELETED), seen.st_blocks * 512)


def mapped(text: str) -> tuple[list[Mapping], str]:
    r"""The mappings of /proc/PID/maps that can matter, and the access of the first that is executable.

    Only "\n" ends a line: a file's name may hold whatever else Unicode takes for one.
    """
    found: dict[Mapping, None] = {}
    first = ""
    for line in text.split("\n"):
        fields = line.split(" ", 5)
        if len(fields) < 5:
            continue
        path = fields[5].lstrip(" ") if len(fields) > 5 else ""
        if "x" in fields[1] and not first and not path.startswith("["):
            first = fields[1]
        if path.startswith(("/", "anon_inode:")) and ("x" in fields[1] or not path.endswith(".so")):
            found[Mapping(fields[1], path)] = None
    return list(found), first


def watched(text: str) -> set[int]:
    """The devices whose files a descriptor watches, by the text of its fdinfo, as `os.makedev` has them."""
    devices = set()
    for number in _WATCH.findall(text):
        inner = int(number, 16)  # the kernel's own form: 12 bits and 20 bits
        devices.add(os.makedev(inner >> 20 & 0xFFF, inner & 0xFFFFF))
    return devices


def _spaces(pid: int) -> dict[str, str]:
    found = {}
    for name in _SPACES:
        with contextlib.suppress(OSError):
            found[name] = os.readlink(f"/proc/{pid}/ns/{name}")
    return found


def _overlay(mounts: Sequence[Mounted]) -> int:
    """The device of the container's root where that is an overlay, else 0."""
    for mount in mounts:
        if mount.place == "/" and mount.kind == "overlay":
            major, _, minor = mount.device.partition(":")
            return os.makedev(int(major), int(minor))
    return 0


def mounts_of(mounts: Sequence[Mounted]) -> tuple[list[str], dict[str, str]]:
    """Among mounts: where FUSE file systems are, and what ties a mount to others (shared, slave)."""
    fuse, ties = [], {}
    for mount in mounts:
        if mount.kind in ("fuse", "fuseblk") or mount.kind.startswith("fuse."):
            fuse.append(mount.place.encode(errors="surrogateescape").decode(errors="replace"))
        words = [
            word
            for word, mark in (("shared", "shared:"), ("slave", "master:"))
            if any(tie.startswith(mark) for tie in mount.ties)
        ]
        if words:
            ties[mount.place] = " and ".join(words)
    return fuse, ties


def _mounted(pid: int) -> list[Mounted]:
    try:
        return mountinfo.of(pid)
    except OSError:
        return []


def linked(init: int, inodes: set[str]) -> list[str]:
    """Local names of the connected unix sockets among `inodes` whose other end is none of them.

    An accepted socket is in the network namespace of who connected, which may be the host's.
    """
    here = os.getpid()
    apart = _spaces(init).get("net") != _spaces(here).get("net")
    return [name for pid in ((init, here) if apart else (here,)) for name in _linked_in(pid, inodes)]


def _linked_in(pid: int, inodes: set[str]) -> list[str]:
    """The same, of the sockets in the network namespace of `pid`."""
    try:
        lines = Path(f"/proc/{pid}/net/unix").read_text(errors="replace").splitlines()[1:]
    except OSError:
        return []
    rows = [line.split(maxsplit=7) for line in lines]
    wanted = {
        row[6]
        for row in rows
        if len(row) > 6 and row[4] in _STREAM_TYPES and row[5] == _CONNECTED and row[6] in inodes
    }
    if not wanted:
        return []
    try:
        told = run(["nsenter", f"--net=/proc/{pid}/ns/net", "ss", "-xanH"], limit=_LIMIT, check=False).output
    except CommandFailed:
        return []
    return foreign(told, wanted, inodes)


def foreign(told: str, wanted: set[str], inodes: set[str]) -> list[str]:
    """In what `ss -xanH` prints: names of the sockets `wanted` whose peers are not among `inodes`."""
    paths, peers = {}, {}
    for line in told.splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[0] in ("u_str", "u_seq"):
            paths[fields[-3]], peers[fields[-3]] = fields[-4], fields[-1]
    # 0: it was closed there, or is not accepted yet.
    outside = [own for own in wanted if own in peers and peers[own] not in (inodes | {"0"})]
    return [
        next((name for name in (paths[own], paths.get(peers[own], "*")) if name != "*"), "unnamed")
        for own in sorted(outside)
    ]


def _may_ask_limits() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & _SYS_RESOURCE)
    return True
