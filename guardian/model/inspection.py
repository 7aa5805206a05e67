"""What is known of a container from its checkpoint: plain facts, gathered once and shown in any form.

Text from an image is never trusted: bytes that are no UTF-8 are escaped, everything else is as it was, so whoever
shows it makes it printable (`guardian.model.wording.printable`). Addresses and sizes are whole numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from guardian.model.container import Mount as ContainerMount

FORMAT = 1
"""Of the JSON that is made of these facts: keys are only ever added to a format."""


@dataclasses.dataclass(frozen=True)
class Credentials:
    """Who a process is. Capabilities are names by set: inheritable, permitted, effective, bounding, ambient.

    `seccomp` is disabled, strict or filter; `profile` that of AppArmor or SELinux, empty where there is none.
    """

    uid: int
    gid: int
    effective_uid: int
    effective_gid: int
    saved_uid: int
    saved_gid: int
    groups: tuple[int, ...]
    capabilities: Mapping[str, tuple[str, ...]]
    no_new_privileges: bool
    seccomp: str
    profile: str
    filesystem_uid: int = 0
    filesystem_gid: int = 0
    secure_bits: int = 0


@dataclasses.dataclass(frozen=True)
class Thread:
    """One thread. `registers` by name; `blocked` and `pending` are names of signals; `system_call` is the number
    of the one it was in, -1 for none. `niceness`, `policy` and `priority` are the scheduler's, `death_signal` is what
    it is sent when its parent ends.
    """

    id: int
    name: str
    registers: Mapping[str, int]
    blocked: tuple[str, ...]
    pending: tuple[str, ...]
    niceness: int
    policy: str
    system_call: int
    priority: int = 0
    death_signal: str = ""


@dataclasses.dataclass(frozen=True)
class OpenFile:
    """A file descriptor. `kind` is file, pipe, fifo, tcp, udp, unix, eventfd, ...; `what` says which, in words.

    `key` names the same open file in other processes. `position` is bytes from the start, -1 where there is none.
    `deleted`: it has no name any more. `size` is bytes, `mode` as of stat(2), `mount` a mount's id; -1 where one is not
    known.
    """

    descriptor: int
    kind: str
    what: str
    key: int
    flags: tuple[str, ...]
    close_on_exec: bool
    position: int = -1
    size: int = -1
    deleted: bool = False
    mode: int = -1
    mount: int = -1


@dataclasses.dataclass(frozen=True)
class Socket:
    """A socket, in whichever processes it is open. Queues and buffers are bytes; `head` is the beginning of what is
    queued to be read. `peer` is the other end: an address, or for unix the peer's name or inode. `shutdown` is the
    direction that was closed, `options` are those that are set.
    """

    key: int
    family: str
    type: str
    state: str
    local: str
    peer: str
    receive_queue: int
    send_queue: int
    backlog: int
    head: str = ""
    options: tuple[str, ...] = ()
    inode: int = 0
    send_buffer: int = 0
    receive_buffer: int = 0
    shutdown: str = ""


@dataclasses.dataclass(frozen=True)
class Pipe:
    """A pipe or fifo with what is in it: bytes, and the beginning of them. `capacity` is bytes, 0 if not known."""

    id: int
    kind: str
    length: int
    head: str
    capacity: int = 0


@dataclasses.dataclass(frozen=True)
class Mount:
    """One mount of the container's; `source` and `root` as the mount table has them, `flags` are ro, nosuid, ..."""

    id: int
    parent: int
    target: str
    type: str
    source: str
    root: str
    options: str
    external: bool
    flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class MemoryMapping:
    """One mapping. `name` is the file's or [heap], [stack], [anon]...; `protection` as /proc/PID/maps has it.

    `in_image` is bytes of pages that the image holds: what the process has written, or shared memory.
    """

    start: int
    end: int
    protection: str
    kind: str
    name: str
    offset: int
    in_image: int


@dataclasses.dataclass(frozen=True)
class Timer:
    """A timer: when it fires next and its interval, in seconds; `signal` is what it sends."""

    kind: str
    id: int
    signal: str
    next: float
    interval: float


@dataclasses.dataclass(frozen=True)
class Lock:
    """A lock on a file: kind (flock, posix, ...), mode, who holds it by which descriptor, and the range in bytes."""

    kind: str
    mode: str
    process: int
    descriptor: int
    start: int
    length: int


@dataclasses.dataclass(frozen=True)
class Process:
    """One process. Ids are those inside the container. `environment` is as it was given at its start.

    `handlers` are the signals it handles or ignores; `limits` are (soft, hard) by name, -1 for none. `layout` is where
    its code, data, heap, stack, arguments and environment lie. `login_uid` is -1 where nobody logged in. A zombie has
    nothing but its place in the tree and its exit code.
    """

    pid: int
    parent: int
    group: int
    session: int
    name: str
    state: str
    command_line: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    executable: str = ""
    working_directory: str = ""
    root: str = ""
    umask: int = 0
    cgroup: str = ""
    oom_score_adj: int = 0
    credentials: Credentials | None = None
    threads: tuple[Thread, ...] = ()
    files: tuple[OpenFile, ...] = ()
    memory: tuple[MemoryMapping, ...] = ()
    timers: tuple[Timer, ...] = ()
    handlers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pending: tuple[str, ...] = ()
    limits: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    layout: Mapping[str, int] = dataclasses.field(default_factory=dict)
    exit_code: int = 0
    login_uid: int = -1
    dumpable: bool = True
    child_subreaper: bool = False


@dataclasses.dataclass(frozen=True)
class Taken:
    """The checkpoint itself, and the container as Docker knew it. `layer` is bytes of its writable layer's archive, -1
    where it is not to be had; `created` is RFC 3339, empty where it is not known; `taken` is seconds since 1970.
    """

    name: str
    id: str
    kind: str
    taken: float
    note: str
    container: str
    container_id: str
    image: str
    image_id: str
    runtime: str
    created: str
    layer: int
    addresses: tuple[str, ...]
    macs: tuple[str, ...]
    mounts: tuple[ContainerMount, ...]


@dataclasses.dataclass(frozen=True)
class Inspection:
    """Everything: `processes` in the order of the process tree, parents first.

    `size` is bytes of all images, `pages` of those with pages of memory. `statistics` are what CRIU counted (times in
    microseconds), empty where they are not there; `checkpoint` is None for a folder of images that is none of ours.
    """

    hostname: str
    criu: str
    size: int
    processes: tuple[Process, ...]
    sockets: tuple[Socket, ...]
    pipes: tuple[Pipe, ...]
    mounts: tuple[Mount, ...]
    locks: tuple[Lock, ...]
    domainname: str = ""
    pages: int = 0
    statistics: Mapping[str, int] = dataclasses.field(default_factory=dict)
    checkpoint: Taken | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; docs/json.md has its keys."""
        return {"format": FORMAT, **dataclasses.asdict(self)}
