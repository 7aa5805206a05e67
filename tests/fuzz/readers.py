"""All that looks into a checkpoint on disk: what people ask for, and what a restore looks at beforehand."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from guardian.host import connections, criu_cpu, manifest
from guardian.host.checkpoint import Checkpoint
from guardian.host.images import coredump
from guardian.host.images.folder import Folder
from guardian.host.images.processes import statistics
from guardian.host.images.search import Pattern, processes
from guardian.model import many
from guardian.model.config import defaults
from guardian.model.errors import BadInput, GuardianError
from guardian.work import content, files, inspection, memory, staleness, verify

Reader = Callable[[Checkpoint, Path], object]
"""Reads a checkpoint, may write into a scratch folder; raises GuardianError."""
_WRITTEN = "needle"
_MOST_MEMORY = 1 << 40


def _images(checkpoint: Checkpoint) -> Folder:
    return Folder(checkpoint.folder / "img")


def _last(found: object) -> None:
    """Take all there is of an iterator and keep nothing."""
    collections.deque(found, maxlen=0)  # type: ignore[call-overload]


def _inspect(checkpoint: Checkpoint, _: Path) -> None:
    inspection.facts(_images(checkpoint), reveal=False)
    statistics(Folder(checkpoint.folder / "work"))


def _search(checkpoint: Checkpoint, _: Path) -> None:
    """Literally, and by an expression in one process, with all that is shown of a hit."""
    folder = _images(checkpoint)
    disclose = memory.disclosure(folder, reveal=False)
    _last(memory.search(folder, Pattern.TEXT, _WRITTEN, disclose, pid=None, context=64, most=100).all())
    for pid in processes(folder)[:1]:
        wanted = f"{_WRITTEN}[a-z-]+"
        _last(memory.search(folder, Pattern.REGEX, wanted, disclose, pid=pid, context=0, most=100).all())


def _map_and_read(checkpoint: Checkpoint, _: Path) -> None:
    folder = _images(checkpoint)
    disclose = memory.disclosure(folder, reveal=False)
    _last(memory.mappings(folder, pid=None))
    for pid in processes(folder):
        with contextlib.suppress(BadInput):
            _last(memory.read(folder, pid, "[stack]", disclose, single=False))


def _strings(checkpoint: Checkpoint, _: Path) -> None:
    folder = _images(checkpoint)
    _last(memory.strings(folder, memory.disclosure(folder, reveal=False), pid=None, least=200).all())


def _coredump(checkpoint: Checkpoint, scratch: Path) -> None:
    folder = _images(checkpoint)
    for pid in processes(folder):
        try:
            coredump.write(folder, pid, scratch / "core")
        finally:
            (scratch / "core").unlink(missing_ok=True)


def _files(checkpoint: Checkpoint, _: Path) -> None:
    """The list with all contents, then the archive."""
    for file in files.files(checkpoint):
        file.found.to_json()
        _last(file.chunks())
    files.to_tar(checkpoint, "/", len)


def _verify(checkpoint: Checkpoint, _: Path) -> None:
    verify.verify(checkpoint)


def _before_a_restore(checkpoint: Checkpoint, _: Path) -> None:
    """What is looked at before a ticket is written: the record, processor, memory, files, connections, hashes."""
    record = checkpoint.record()
    for seen in (checkpoint.state(), checkpoint.intact(), checkpoint.result(), checkpoint.remarks()):
        str(seen)
    criu_cpu.changed(checkpoint)
    many.without_memory(checkpoint.processes(), _MOST_MEMORY)
    staleness.changed(checkpoint, record.container, defaults())
    connections.moving(checkpoint)
    connections.kept(checkpoint)
    content.layer_of(checkpoint)
    if manifest.is_there(checkpoint):
        manifest.verify(checkpoint, below=manifest.IMAGES)


READERS: Mapping[str, Reader] = {
    "inspect": _inspect,
    "memory search": _search,
    "memory map, read": _map_and_read,
    "memory strings": _strings,
    "coredump": _coredump,
    "files": _files,
    "verify": _verify,
    "before a restore": _before_a_restore,
}


def outcome(reader: str, checkpoint: Checkpoint, scratch: Path) -> str:
    """Have one read: `facts`, or the name of guardian's error. Raises whatever else comes out."""
    try:
        READERS[reader](checkpoint, scratch)
    except GuardianError as error:
        return error.name
    return "facts"
