"""What a container's processes have about them that may stand in the way of saving them, seen before it is tried."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator

from guardian.model.savable import Refusal
from guardian.model.wording import printable, quoted, some

GHOST_LIMIT = 1 << 30
"""Bytes of a deleted file that is still open, up to which CRIU is told to keep it."""

_MOST_NAMED = 3

_DUMPED_ANON = frozenset(
    {"eventfd", "eventpoll", "inotify", "fanotify", "signalfd", "timerfd", "pidfd", "bpf-map"}
)
"""What CRIU dumps of the kernel's anonymous inodes (criu/files.c, dump_one_file); it refuses all others."""

_DUMPED_PROTOCOLS = frozenset(
    {"TCP", "TCPv6", "UDP", "UDPv6", "UDP-Lite", "UDPLITE", "UDPLITEv6", "RAW", "RAWv6"}
    | {"UNIX", "UNIX-STREAM", "NETLINK", "PACKET"}
)
_REFUSED_PROTOCOLS = frozenset({"AF_VSOCK", "ALG", "SCTP", "SCTPv6", "TIPC", "XDP", "KCM", "SMC", "SMC6"})
"""Families that CRIU has no code for. Of what is in neither set nothing is known for sure."""

_MEMORY_MAJOR, _MISC_MAJOR = 1, 10
_TTY_MAJORS = frozenset({2, 3, 4, 5, *range(136, 144), 204, 229})
_TUN, _AUTOFS = 200, 235
_GRAPHICS = re.compile(r"/dev/(nvidia|dri/|kfd)")
_MAPPED_MEMORY = ("/dev/zero", "/dev/shm/", "/dev/hugepages/")  # noqa: S108
_ANON = re.compile(r"anon_inode:\[?([^\]]+)\]?")
FUSE = "/dev/fuse"
"""The device by which a process serves a file system."""


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """An open file, by the text of its link. `protocol` is a socket's, `device` is (major, minor) of a device."""

    link: str
    protocol: str = ""
    device: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Deleted:
    """A file without a name that is still open; `size` is what it takes on disk."""

    path: str
    size: int


@dataclasses.dataclass(frozen=True)
class Mapping:
    """One line of /proc/PID/maps with a name, or executable."""

    access: str
    path: str


@dataclasses.dataclass(frozen=True)
class Process:
    """What was seen of one process. `spaces` are its namespaces that are not init's; `first_code` is its first
    executable mapping by address, where CRIU puts its own code.
    """

    name: str
    user: int = 0
    tracer: int = 0
    spaces: tuple[str, ...] = ()
    descriptors: tuple[Descriptor, ...] = ()
    deleted: tuple[Deleted, ...] = ()
    mappings: tuple[Mapping, ...] = ()
    first_code: str = ""
    watches_overlay: bool = False


@dataclasses.dataclass(frozen=True)
class Traits:
    """What was seen of a container. `strangers` are the names of processes that are not below its init; `linked`
    the local names of unix connections whose other end is outside; `fuse` the places of FUSE file systems; `binds`
    where something of the host is mounted, with what flows between that mount and the host's.

    `resource_right`: guardian has CAP_SYS_RESOURCE; `plugins`: CRIU has plug-ins here.
    """

    processes: tuple[Process, ...] = ()
    strangers: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    fuse: tuple[str, ...] = ()
    binds: tuple[tuple[str, str], ...] = ()
    memory: int = 0
    resource_right: bool = True
    plugins: bool = False

    def serves_files(self) -> bool:
        """Whether one of its processes serves a FUSE file system."""
        return any(item.link == FUSE for process in self.processes for item in process.descriptors)


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """Something in the way of saving a container, and its cure. What does not forbid it is only to be known."""

    what: str
    cure: str
    forbids: bool = True


def obstacles(traits: Traits) -> tuple[Obstacle, ...]:
    """Everything in the way, what forbids first."""
    found = dict.fromkeys(obstacle for look in _LOOKS for obstacle in look(traits))
    return tuple(sorted(found, key=lambda item: not item.forbids))


def of_refusal(refusal: Refusal) -> Obstacle:
    """The same, of what Docker's facts forbid."""
    return Obstacle(refusal.what, refusal.cure)


def _ghosts(traits: Traits) -> Iterator[Obstacle]:
    """`Can't dump ghost file`: deleted, open, and larger than the limit."""
    for process in traits.processes:
        for file in process.deleted:
            if file.size > GHOST_LIMIT:
                yield Obstacle(
                    f"{_called(process)} has {_path(file.path)} open, deleted and {file.size >> 20} MiB large",
                    f"have it closed; up to {GHOST_LIMIT >> 20} MiB are saved",
                )


def _linked(traits: Traits) -> Iterator[Obstacle]:
    """`External socket is used`: CRIU can save both ends of a unix connection, not one."""
    if traits.linked:
        names = some(map(_path, sorted(set(traits.linked))), most=_MOST_NAMED)
        yield Obstacle(
            f"is connected with a process outside by a unix socket ({names})",
            "have it closed before, or give both ends to one container",
        )


def _anonymous(traits: Traits) -> Iterator[Obstacle]:
    """io_uring, perf, userfaultfd, KVM and whatever else CRIU has no code for."""
    for process in traits.processes:
        kinds = {found[1] for item in process.descriptors if (found := _ANON.match(item.link))}
        if any(_ANON.match(item.path) and "io_uring" in item.path for item in process.mappings):
            kinds.add("io_uring")
        for kind in sorted(kinds - _DUMPED_ANON):
            cure = (
                "have it use epoll (often a setting: io_uring off)"
                if kind == "io_uring"
                else "have it closed"
            )
            yield Obstacle(f"{_called(process)} uses {_path(kind)}, which CRIU cannot save", cure)


def _devices(traits: Traits) -> Iterator[Obstacle]:
    """Device files: memory and terminals are saved, others are not."""
    for process in traits.processes:
        for item in process.descriptors:
            if item.device is not None:
                yield from _device(process, item.link, item.device, plugins=traits.plugins)
        for mapping in process.mappings:
            if _GRAPHICS.match(mapping.path):
                yield _graphics(process, mapping.path, plugins=traits.plugins)
            elif mapping.path.startswith("/dev/") and not mapping.path.startswith(_MAPPED_MEMORY):
                yield Obstacle(
                    f"{_called(process)} has the device {_path(mapping.path)} mapped",
                    "CRIU may not be able to save it; try a snapshot",
                    forbids=False,
                )


def _device(process: Process, link: str, device: tuple[int, int], *, plugins: bool) -> Iterator[Obstacle]:
    if device[0] == _MEMORY_MAJOR or device[0] in _TTY_MAJORS or device == (_MISC_MAJOR, _AUTOFS):
        return
    if _GRAPHICS.match(link):
        yield _graphics(process, link, plugins=plugins)
    elif device == (_MISC_MAJOR, _TUN):
        yield Obstacle(
            f"{_called(process)} has a tun or tap interface",
            "it may not come back; try a snapshot",
            forbids=False,
        )
    else:
        yield Obstacle(
            f"{_called(process)} has the device {_path(link)} open, which CRIU cannot save",
            "have it closed, or run the container without the device",
            forbids=not plugins,
        )


def _graphics(process: Process, link: str, *, plugins: bool) -> Obstacle:
    return Obstacle(
        f"{_called(process)} uses a graphics processor ({_path(link)})",
        "CRIU needs the plug-in of its maker for that; try a snapshot"
        if plugins
        else "install CRIU's plug-in for it",
        forbids=not plugins,
    )


def _protocols(traits: Traits) -> Iterator[Obstacle]:
    """Sockets of families that CRIU does not know."""
    for process in traits.processes:
        for name in sorted(
            {item.protocol for item in process.descriptors if item.protocol} - _DUMPED_PROTOCOLS
        ):
            sure = name in _REFUSED_PROTOCOLS
            yield Obstacle(
                f"{_called(process)} has a socket of the kind {_path(name)}"
                f"{', which CRIU cannot save' if sure else ''}",
                "have it closed" if sure else "CRIU may not be able to save it; try a snapshot",
                forbids=sure,
            )


def _code(traits: Traits) -> Iterator[Obstacle]:
    """`POKEDATA failed`: CRIU writes into the first executable mapping, and PHP's JIT makes it shared and read-only."""
    for process in traits.processes:
        if process.first_code[1:] == "-xs":
            yield Obstacle(
                f"{_called(process)} has a shared, read-only mapping as its first code (PHP's JIT makes one)",
                "set opcache.jit_buffer_size=0",
            )


def _foreign_code(traits: Traits) -> Iterator[Obstacle]:
    """`bad build-ID`: a program or library of the host's, which an upgrade of the host may replace."""
    places = tuple(f"{place.rstrip('/')}/" for place, _ in traits.binds)
    files = {place for place, _ in traits.binds}
    for process in traits.processes:
        found = {
            mapping.path
            for mapping in process.mappings
            if "x" in mapping.access and (mapping.path.startswith(places) or mapping.path in files)
        }
        if found:
            yield Obstacle(
                f"{_called(process)} runs code of the host's ({some(map(_path, sorted(found)), most=_MOST_NAMED)})",
                "it starts cold where that file changes meanwhile; copy it into the image",
                forbids=False,
            )


def _propagation(traits: Traits) -> Iterator[Obstacle]:
    """`unreachable sharing`, `doesn't have a proper root mount`: mounts tied to mounts of the host."""
    for place, tie in traits.binds:
        if tie:
            yield Obstacle(
                f"{_path(place)} is mounted {tie}",
                "CRIU may not be able to save it; mount it rprivate, or try a snapshot",
                forbids=False,
            )


def _sessions(traits: Traits) -> Iterator[Obstacle]:
    """`docker exec` sessions are no children of init: they are ended, not saved."""
    if traits.strangers:
        names = some(map(_path, sorted(set(traits.strangers))), most=_MOST_NAMED)
        yield Obstacle(
            f"a docker exec session or health check runs in it ({names})",
            "it would be ended; close it before",
            forbids=False,
        )


def _traced(traits: Traits) -> Iterator[Obstacle]:
    """A process has one tracer, and CRIU must be it."""
    for process in traits.processes:
        if process.tracer:
            yield Obstacle(
                f"{_called(process)} is traced by process {process.tracer}", "end the debugger or strace"
            )


def _spaces(traits: Traits) -> Iterator[Obstacle]:
    """Namespaces within the container: CRIU saves nested mount, network and cgroup namespaces, no others."""
    for process in traits.processes:
        inner = sorted(set(process.spaces) - {"mnt", "net", "cgroup"})
        if inner:
            yield Obstacle(
                f"{_called(process)} is in a {', '.join(inner)} namespace of its own, which CRIU cannot save",
                "run what it does in a container of its own",
            )
        elif "net" in process.spaces:
            yield Obstacle(
                f"{_called(process)} is in a net namespace of its own",
                "it is not locked during the checkpoint, its connections may be closed",
                forbids=False,
            )


def _limits(traits: Traits) -> Iterator[Obstacle]:
    """`Can't get rlimit`: of another user's process only with CAP_SYS_RESOURCE."""
    other = next((process for process in traits.processes if process.user), None)
    if other is not None and not traits.resource_right:
        yield Obstacle(
            f"{_called(other)} is not root's, and guardian has no CAP_SYS_RESOURCE here",
            "give this (nested) host the capability, or run it as root",
        )


def _watches(traits: Traits) -> Iterator[Obstacle]:
    """`fsnotify: Handle cannot be opened`: watches on overlayfs, which some versions of CRIU cannot find again."""
    for process in traits.processes:
        if process.watches_overlay:
            yield Obstacle(
                f"{_called(process)} watches files of its image (inotify or fanotify)",
                "some versions of CRIU cannot save that; try a snapshot",
                forbids=False,
            )


_LOOKS: tuple[Callable[[Traits], Iterator[Obstacle]], ...] = (
    *(_ghosts, _linked, _anonymous, _devices, _protocols, _code, _traced, _spaces, _limits),
    *(_sessions, _foreign_code, _propagation, _watches),
)


def _called(process: Process) -> str:
    return printable(process.name) or "a process"


def _path(text: str) -> str:
    return quoted(text) if len(text) > 80 else printable(text)
