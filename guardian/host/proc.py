"""Processes as proc(5) shows them."""

from __future__ import annotations

import dataclasses
import os
import select
from collections.abc import Iterator
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that guardian looks at; `started` is in clock ticks since boot."""

    name: str
    state: str
    parent: int
    started: int
    start_code: int
    start_stack: int
    start_brk: int


def stat(pid: int) -> Stat | None:
    """The state of a process, None where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return parsed(text)


def parsed(text: str) -> Stat:
    """The text of /proc/PID/stat; the name may hold anything, brackets and line ends too."""
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    # fields[0] is field 3 of proc(5).
    return Stat(
        name=name,
        state=fields[0],
        parent=int(fields[1]),
        started=int(fields[19]),
        start_code=int(fields[23]),
        start_stack=int(fields[25]),
        start_brk=int(fields[44]),
    )


def alive(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
    seen = stat(pid)
    return seen is not None and seen.state not in "ZX"


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, at one moment."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            seen = stat(int(entry))
            if seen is not None:
                children.setdefault(seen.parent, []).append(int(entry))
    found: list[int] = []
    queue = [pid]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def command_lines() -> Iterator[tuple[int, list[bytes]]]:
    """Every process with the words of its command line."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                yield int(entry), Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue


def wait_for_exit(pid: int, *, limit: float) -> bool:
    """Whether a process that need not be a child ended within `limit` seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], limit)[0])
    finally:
        os.close(descriptor)


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def inode(path: str) -> int:
    """The inode number a path of /proc leads to."""
    return os.stat(path).st_ino
