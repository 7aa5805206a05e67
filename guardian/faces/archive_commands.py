"""guardianctl files, export and import at work. Standard output has what was asked for, the other one all else."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from guardian.faces import subject, worker_client
from guardian.faces.asking import job, tell
from guardian.faces.configuration import load_config
from guardian.faces.jobs import Call, Status
from guardian.host import durable, filters
from guardian.host.checkpoint import Checkpoint
from guardian.model.errors import BadInput, GuardianError, NoCheckpoint, UnknownContainer
from guardian.model.wording import escaped
from guardian.work import arrival, export, files, importing, reception
from guardian.work.arrival import Terms
from guardian.work.export import Wanted
from guardian.work.files import Found
from guardian.work.host import Host
from guardian.work.reception import Reception

_REFUSALS = (BadInput, NoCheckpoint, UnknownContainer)


def run(name: str, options: argparse.Namespace) -> int:
    """Run one command; errors on standard error, the exit status as of all commands."""
    try:
        return _COMMANDS[name](options)
    except BrokenPipeError:
        # Whoever read has seen enough; Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.DONE
    except (GuardianError, OSError) as error:
        print(f"guardianctl: {escaped(str(error))}", file=sys.stderr)
        tell(error, json_wanted=options.json and name != "files" and getattr(options, "output", "") != "-")
        return Status.REFUSED if isinstance(error, _REFUSALS) else Status.FAILED


@contextlib.contextmanager
def output(name: str) -> Iterator[BinaryIO]:
    """A new file, mode 0600, which is there as a whole or not at all; standard output for `-`.

    Raises BadInput where there is a file of this name, or where standard output is a terminal.
    """
    if name == "-":
        if sys.stdout.isatty():
            raise BadInput("this is not for a terminal", hint="name a file, or redirect standard output")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(name)
    if os.path.lexists(target):
        raise BadInput(f"{name!r} is there already", hint="remove it, or name another")
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(temporary, target)  # unlike a rename it replaces nothing
        except FileExistsError as error:
            raise BadInput(f"{name!r} is there already", hint="remove it, or name another") from error
    finally:
        temporary.unlink(missing_ok=True)
    durable.sync_folder(target.absolute().parent)


def _files(options: argparse.Namespace) -> int:
    with subject.opened(options.subject) as found:
        return _files_of(found.checkpoint, options)


def _files_of(checkpoint: Checkpoint, options: argparse.Namespace) -> int:
    problem = files.layer_problem(checkpoint)
    if problem:
        print(f"guardianctl: without the writable layer: {escaped(problem)}", file=sys.stderr)
    if options.take is not None:
        with output(options.output) as file:
            files.take(checkpoint, options.take, file.write)
            _still(checkpoint, problem)
    elif options.tar is not None:
        with output(options.tar) as file:
            files.to_tar(checkpoint, options.path, file.write)
            _still(checkpoint, problem)
    else:
        _list(checkpoint, options)
        _still(checkpoint, problem)
    return Status.DONE


def _still(checkpoint: Checkpoint, problem: str) -> None:
    """Raise GuardianError where the container began to run while its files were read."""
    now = files.layer_problem(checkpoint)
    if now != problem:
        raise GuardianError("what was read is not what was kept", now)


def _list(checkpoint: Checkpoint, options: argparse.Namespace) -> None:
    found = (file.found for file in files.listed(checkpoint, options.path))
    if not options.json:
        for each in found:
            print(_line(each))
        return
    print("[", end="")
    for count, each in enumerate(found):
        print("," if count else "", json.dumps(each.to_json()), sep="\n", end="")
    print("\n]")


def _line(found: Found) -> str:
    """One line: source, mode, owner, size or device, time (UTC), path. Control characters as escapes."""
    is_device = stat.S_ISCHR(found.mode) or stat.S_ISBLK(found.mode)
    size = f"{found.device[0]},{found.device[1]}" if is_device else str(found.size)
    try:
        when = datetime.fromtimestamp(found.modified, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        when = "-"
    owner = f"{found.uid}:{found.gid}"
    link = (" -> " if stat.S_ISLNK(found.mode) else " = ") + escaped(found.target) if found.target else ""
    mode = stat.filemode(found.mode)
    return f"{found.source:8}{mode} {owner:12}{size:>12} {when:19} {escaped(found.path)}{link}"


def _export(options: argparse.Namespace) -> int:
    with subject.opened(options.subject) as found:
        return _export_of(found.checkpoint, options)


def _export_of(checkpoint: Checkpoint, options: argparse.Namespace) -> int:
    wanted = Wanted(options.with_image, options.volumes)
    given = options.descriptor is not None
    name = options.output or _name_for(checkpoint, options)
    for remark in export.remarks(checkpoint, wanted):
        print(f"guardianctl: {escaped(remark)}", file=sys.stderr)
    with (
        durable.into(options.descriptor) if given else output(name) as file,
        filters.encoded(file, compress=options.compress == "zstd", recipient=options.encrypt_to) as write,
    ):
        manifest = export.export(checkpoint, wanted, write)
    shown = {
        "container_id": manifest.container_id,
        "name": manifest.name,
        "checkpoint": manifest.checkpoint,
        "members": len(manifest.members),
    }
    if given:
        print(json.dumps(shown, indent=1))
    elif name != "-":
        size = Path(name).stat().st_size
        shown |= {"file": name, "size": size}
        print(json.dumps(shown, indent=1) if options.json else f"{escaped(name)}: {size} bytes")
    return Status.DONE


def _name_for(checkpoint: Checkpoint, options: argparse.Namespace) -> str:
    name = f"{checkpoint.record().container.name}-{checkpoint.id}.tar"
    return name + (".zst" if options.compress == "zstd" else "") + (".age" if options.encrypt_to else "")


def _import(options: argparse.Namespace) -> int:
    host = Host.of(load_config())
    terms = Terms(options.name, options.volumes == "use", options.force)
    reception.sweep(host)
    coming = Reception(host, secrets.token_hex(16))
    with (
        coming.open(),
        _source(options.file) as file,
        filters.decoded(file, identity=options.identity) as stream,
        arrival.unpacked(host, stream, terms, coming.staging) as found,
    ):
        for remark in arrival.said(found):
            print(f"guardianctl: {escaped(remark)}", file=sys.stderr)
        made = importing.take_in(host, found, terms, coming)
    name = made.container.name
    if options.resume:
        if not options.json:
            print(f"{escaped(name)}: imported", flush=True)
        return job(worker_client.request(Call.RESTORE, (name,)), options)
    if options.json:
        shown = {"container_id": made.container.id, "name": name, "checkpoint": made.checkpoint.id}
        print(json.dumps({**shown, "connections": made.connections}, indent=1))
    else:
        lost = f"; its {made.connections} connections will be closed" if made.connections else ""
        print(f"{escaped(name)}: imported, it waits for guardianctl restore {escaped(name)}{lost}")
    return Status.DONE


@contextlib.contextmanager
def _source(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as file:
        yield file


_COMMANDS = {"files": _files, "export": _export, "import": _import}
