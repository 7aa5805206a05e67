"""guardianctl inspect: what a container was doing, from its checkpoint."""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Callable, Iterator

from guardian.faces import subject, table
from guardian.faces.command import Command
from guardian.faces.jobs import Status
from guardian.model.inspection import Inspection, OpenFile, Process
from guardian.model.wording import printable
from guardian.work import inspection, taken

_SECTIONS = ("checkpoint", "processes", "threads", "files", "sockets", "memory", "mounts", "environment")


def add(command: Command) -> None:
    """Register the subcommand."""
    made = command(
        "inspect", _inspect, "processes, open files, sockets, memory of a container or a checkpoint"
    )
    made.add_argument(
        "subject", metavar="CONTAINER|CHECKPOINT", help="web (as it is now), web@2, an id, a folder"
    )
    for section in _SECTIONS:
        made.add_argument(
            f"--{section}", action="store_true", help=f"only this section, and others named: {section}"
        )
    made.add_argument("--all", action="store_true", help="every section")
    made.add_argument("--pid", type=int, help="only this process (its number inside the container)")
    made.add_argument("--reveal", action="store_true", help="show what looks like a secret; is logged")


def _inspect(options: argparse.Namespace) -> int:
    with subject.looked_into(options.subject) as (folder, known):
        found = inspection.facts(folder, reveal=options.reveal)
        if known is not None:
            found = taken.with_checkpoint(found, known)
    processes = [item for item in found.processes if options.pid in (None, item.pid)]
    if options.json:
        shown = found.to_json()
        shown["processes"] = [item for item in shown["processes"] if options.pid in (None, item["pid"])]
        print(json.dumps(shown, indent=1))
        return Status.DONE if processes else Status.FAILED
    wanted = [name for name in _SECTIONS if options.all or getattr(options, name)]
    for name in wanted or ["processes", "sockets"]:
        _SHOW[name](found, processes)
    return Status.DONE if processes else Status.FAILED


def _head(text: str) -> None:
    print(f"\n{text}")


def _checkpoint(found: Inspection, _: list[Process]) -> None:
    rows = [("images", table.size(found.size)), ("pages of memory", table.size(found.pages))]
    about = found.checkpoint
    if about is not None:
        when = datetime.datetime.fromtimestamp(about.taken, datetime.UTC).isoformat(timespec="seconds")
        rows = [
            ("checkpoint", f"{about.name} {about.id} ({about.kind})"),
            ("taken", when),
            ("note", about.note),
            ("container", f"{about.container} {about.container_id}"),
            ("created", about.created),
            ("image", f"{about.image} {about.image_id}"),
            ("runtime", about.runtime),
            ("addresses", " ".join((*about.addresses, *about.macs))),
            *rows,
            ("writable layer", "" if about.layer < 0 else table.size(about.layer)),
        ]
        rows += [(f"mount {item.destination}", f"{item.kind} {item.source}") for item in about.mounts]
    rows += [(name.replace("_", " "), _counted(name, value)) for name, value in found.statistics.items()]
    _head("Checkpoint")
    table.show(("WHAT", "IS"), [row for row in rows if row[1]])


def _counted(name: str, value: int) -> str:
    """What CRIU counted: pages, or a time in microseconds."""
    return f"{value / 1000:.3f} ms" if name.endswith("_time") or name == "irmap_resolve" else str(value)


def _processes(found: Inspection, processes: list[Process]) -> None:
    print(
        f"{printable(found.hostname)}: {len(found.processes)} processes, images of {table.size(found.size)}"
    )
    shown = {process.pid for process in processes}
    for depth, process in _tree(found):
        if process.pid in shown:
            print(f"{'  ' * depth}{process.pid} {printable(_called(process))}{_remarks(process)}")


def _tree(found: Inspection) -> Iterator[tuple[int, Process]]:
    """Each process with its depth; parents come first."""
    depths: dict[int, int] = {}
    for process in found.processes:
        depths[process.pid] = depths[process.parent] + 1 if process.parent in depths else 0
        yield depths[process.pid], process


def _called(process: Process) -> str:
    return " ".join(process.command_line) or f"[{process.name}]"


def _remarks(process: Process) -> str:
    notes = []
    if process.state != "running":
        notes.append(process.state)
    if len(process.threads) > 1:
        notes.append(f"{len(process.threads)} threads")
    if process.credentials is not None:
        notes.append(f"uid {process.credentials.effective_uid}")
    memory = sum(item.in_image for item in process.memory)
    notes += [f"{len(process.files)} files", f"{table.size(memory)} in the image"] if process.files else []
    if process.pending:
        notes.append(f"pending {' '.join(process.pending)}")
    return f"  ({', '.join(notes)})" if notes else ""


def _threads(_: Inspection, processes: list[Process]) -> None:
    rows = [
        (
            str(process.pid),
            str(thread.id),
            thread.name,
            "" if thread.system_call < 0 else str(thread.system_call),
            f"{thread.registers.get('ip', 0):#x}",
            f"{thread.registers.get('sp', 0):#x}",
            " ".join(thread.blocked),
            " ".join(thread.pending),
        )
        for process in processes
        for thread in process.threads
    ]
    _head("Threads")
    table.show(("PID", "TID", "NAME", "SYSCALL", "IP", "SP", "BLOCKED", "PENDING"), rows)


def _files(found: Inspection, processes: list[Process]) -> None:
    rows = [
        (
            str(process.pid),
            str(file.descriptor),
            file.kind,
            "" if file.position < 0 else str(file.position),
            "" if file.size < 0 else str(file.size),
            " ".join(file.flags).replace("O_", "").lower(),
            file.what + (" (deleted)" if file.deleted else ""),
            _queued(found, file),
        )
        for process in processes
        for file in process.files
    ]
    _head("Open files")
    table.show(("PID", "FD", "KIND", "POSITION", "SIZE", "FLAGS", "WHAT", "HOLDS"), rows)
    if found.locks:
        _head("Locks")
        locks = [
            (str(item.process), str(item.descriptor), item.kind, item.mode, str(item.start), str(item.length))
            for item in found.locks
        ]
        table.show(("PID", "FD", "KIND", "MODE", "START", "LENGTH"), locks)


def _queued(found: Inspection, file: OpenFile) -> str:
    """What waits to be read in a pipe."""
    for pipe in found.pipes:
        if file.kind == pipe.kind and file.what == f"pipe {pipe.id}":
            return f"{pipe.length} bytes: {pipe.head}"
    return ""


def _sockets(found: Inspection, processes: list[Process]) -> None:
    holders: dict[int, list[str]] = {}
    for process in processes:
        for file in process.files:
            holders.setdefault(file.key, []).append(f"{process.pid}:{file.descriptor}")
    rows = [
        (
            item.type if item.family != "unix" else f"unix {item.type}",
            item.state,
            item.local,
            item.peer,
            str(item.receive_queue),
            str(item.send_queue),
            " ".join(holders.get(item.key, ())),
            item.head,
        )
        for item in found.sockets
    ]
    _head("Sockets")
    table.show(("KIND", "STATE", "LOCAL", "PEER", "UNREAD", "UNSENT", "PID:FD", "HEAD"), rows)


def _memory(_: Inspection, processes: list[Process]) -> None:
    for process in processes:
        _head(f"Memory of {process.pid} {printable(process.name)}")
        rows = [
            (f"{item.start:x}-{item.end:x}", item.protection, table.size(item.end - item.start),
             table.size(item.in_image), item.name)
            for item in process.memory
        ]  # fmt: skip
        table.show(("RANGE", "MODE", "SIZE", "IN THE IMAGE", "WHAT"), rows)


def _mounts(found: Inspection, _: list[Process]) -> None:
    _head("Mounts")
    rows = [(item.target, item.type, item.source, item.root, item.options) for item in found.mounts]
    table.show(("TARGET", "TYPE", "SOURCE", "ROOT", "OPTIONS"), sorted(rows))


def _environment(_: Inspection, processes: list[Process]) -> None:
    for process in processes:
        _head(f"Environment of {process.pid} {printable(process.name)}")
        for item in process.environment:
            print(f"  {printable(item)}")


_SHOW: dict[str, Callable[[Inspection, list[Process]], None]] = {
    "checkpoint": _checkpoint,
    "processes": _processes,
    "threads": _threads,
    "files": _files,
    "sockets": _sockets,
    "memory": _memory,
    "mounts": _mounts,
    "environment": _environment,
}
