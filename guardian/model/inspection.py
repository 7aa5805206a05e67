"""What is known of a container from its checkpoint: plain facts, gathered once and shown in any form.

Text from an image is never trusted: bytes that are no UTF-8 are escaped, everything else is as it was, so whoever
shows it makes it printable (`guardian.model.wording.printable`). Addresses and sizes are whole numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

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


@dataclasses.dataclass(frozen=True)
class Thread:
    """One thread. `registers` by name; `blocked` and `pending` are names of signals; `system_call` is the number
    of the one it was in, -1 for none. `niceness` and `policy` are the scheduler's.
    """

    id: int
    name: str
    registers: Mapping[str, int]
    blocked: tuple[str, ...]
    pending: tuple[str, ...]
    niceness: int
    policy: str
    system_call: int


@dataclasses.dataclass(frozen=True)
class OpenFile:
    """A file descriptor. `kind` is file, pipe, fifo, tcp, udp, unix, eventfd, ...; `what` says which, in words.

    `key` names the same open file in other processes. `position` is bytes from the start, -1 where there is none.
    `deleted`: it has no name any more. `size` is bytes, -1 where it is not known.
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


@dataclasses.dataclass(frozen=True)
class Socket:
    """A socket, in whichever processes it is open. Queues are bytes; `head` is the beginning of what is queued to
    be read. `peer` is the other end: an address, or for unix the peer's name or inode.
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


@dataclasses.dataclass(frozen=True)
class Pipe:
    """A pipe or fifo with what is in it: bytes, and the beginning of them."""

    id: int
    kind: str
    length: int
    head: str


@dataclasses.dataclass(frozen=True)
class Mount:
    """One mount of the container's; `source` and `root` as the mount table has them."""

    id: int
    parent: int
    target: str
    type: str
    source: str
    root: str
    options: str
    external: bool


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

    `handlers` are the signals it handles or ignores; `limits` are (soft, hard) by name, -1 for none. A zombie has
    nothing but its place in the tree.
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


@dataclasses.dataclass(frozen=True)
class Inspection:
    """Everything: `processes` in the order of the process tree, parents first. `size` is bytes of all images."""

    hostname: str
    criu: str
    size: int
    processes: tuple[Process, ...]
    sockets: tuple[Socket, ...]
    pipes: tuple[Pipe, ...]
    mounts: tuple[Mount, ...]
    locks: tuple[Lock, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; docs/json.md has its keys."""
        return {"format": FORMAT, **dataclasses.asdict(self)}
