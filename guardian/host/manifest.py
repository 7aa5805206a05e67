"""A checkpoint's manifest: length and SHA-256 of every file that a restore or an inspection needs.

Made once the container is dead or runs again, from the page cache. Logs, statistics and what tells how it went on
(ledger, result) are not part of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from guardian.host import chain, durable
from guardian.host.checkpoint import Checkpoint
from guardian.model import json_text
from guardian.model.errors import GuardianError, StoreError

FORMAT = 1
IMAGES = "img/"
"""How the names of CRIU's images begin."""
_FILE = "manifest.json"
_BESIDE = (
    "record.json",
    "proof",
    "connections.json",
    "rootfs-diff.tar",
    "deleted.files",
    "container.json",
    "held-files.json",
)
_PIECE = 256 << 10


class Damaged(GuardianError):
    """A checkpoint is not what it was when it was taken; says the first thing that is wrong."""

    name = "Damaged"


class Interrupted(GuardianError):
    """The hashing was given up."""


def is_there(checkpoint: Checkpoint) -> bool:
    """Whether the files have been hashed."""
    return (checkpoint.folder / _FILE).exists()


def write(checkpoint: Checkpoint, stop: threading.Event) -> None:
    """Write out the files, hash them and write the manifest; raises Interrupted once `stop` is set, and OSError."""
    found = {}
    for name in _names(checkpoint):
        with _opened(checkpoint.folder / name) as descriptor:
            os.fsync(descriptor)
            found[name] = {
                "size": os.fstat(descriptor).st_size,
                "sha256": _digest(descriptor, stop),
            }
    for folder in chain.folders(checkpoint.folder / "img"):
        durable.sync_folder(folder)
    made = {"format": FORMAT, "files": found, "links": chain.links(checkpoint.folder / "img")}
    durable.write(checkpoint.folder / _FILE, json.dumps(made, indent=1) + "\n")


def verify(checkpoint: Checkpoint, *, below: str = "") -> int:
    """Compare the files whose names begin with `below` with the manifest, all of them where it is empty.

    Returns their bytes; raises Damaged or StoreError.
    """
    files, links = _read(checkpoint)
    if chain.links(checkpoint.folder / "img") != links:
        raise Damaged("the links between its images have changed")
    known = {name: item for name, item in files.items() if name.startswith(below)}
    there = {name for name in _names(checkpoint) if name.startswith(below)}
    for name in sorted(there - known.keys()):
        raise Damaged(f"{name} was added", "the manifest does not have it")
    total = 0
    for name, (size, digest) in known.items():
        if name not in there:
            raise Damaged(f"{name} is missing")
        try:
            _compare(checkpoint.folder / name, name, size, digest)
        except OSError as error:
            # A link in its place, a broken disk.
            raise Damaged(f"{name} cannot be read", str(error)) from error
        total += size
    return total


def _compare(path: Path, name: str, size: int, digest: str) -> None:
    with _opened(path) as descriptor:
        found = os.fstat(descriptor).st_size
        if found != size:
            raise Damaged(f"{name} has {found} bytes", f"it had {size}")
        if _digest(descriptor, threading.Event()) != digest:
            raise Damaged(f"{name} has changed", "its SHA-256 is another one")


def _read(checkpoint: Checkpoint) -> tuple[Mapping[str, tuple[int, str]], Mapping[str, str]]:
    """Length and SHA-256 of each file, and where each link leads."""
    try:
        data = json_text.loads((checkpoint.folder / _FILE).read_text())
        if data["format"] != FORMAT:
            raise StoreError(f"the manifest has format {data['format']}", "this guardian does not know it")
        files = {str(name): (int(item["size"]), str(item["sha256"])) for name, item in data["files"].items()}
        links = {str(name): str(target) for name, target in data.get("links", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged("the manifest cannot be read", str(error)) from error
    return files, links


def _names(checkpoint: Checkpoint) -> Iterator[str]:
    """The files that a manifest has, relative to the checkpoint's folder."""
    for name, entry in chain.entries(checkpoint.folder / "img"):
        if entry.is_file(follow_symlinks=False):
            yield f"{IMAGES}{name}"
    for name in _BESIDE:
        if (checkpoint.folder / name).is_file():
            yield name


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A regular file as a descriptor, no link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _digest(descriptor: int, stop: threading.Event) -> str:
    made, offset, buffer = hashlib.sha256(), 0, memoryview(bytearray(_PIECE))
    while (count := os.preadv(descriptor, [buffer], offset)) > 0:
        if stop.is_set():
            raise Interrupted("the hashing was given up")
        made.update(buffer[:count])
        offset += count
    return made.hexdigest()
