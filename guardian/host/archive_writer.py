"""Writes the archive: members whose length is known beforehand, hashed while they pass, the manifest last."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from guardian.host import chain
from guardian.host.tree import BLOCK, END, Write
from guardian.model import steps
from guardian.model.archive import IMAGE, IMAGES, MANIFEST, Manifest, Part, is_name
from guardian.model.errors import GuardianError

_CHUNK = 1 << 20
_PART = 32 << 20
"""Bytes of a part of what has no known length; it is in memory until it is whole."""


class Changed(GuardianError):
    """What is being archived is not as long as it was."""


class ArchiveWriter:
    """One archive on its way out."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.members: list[Part] = []

    def folder(self, name: str) -> None:
        """A folder: podman's tools look for one of the images."""
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o700
        self._write(info.tobuf(tarfile.GNU_FORMAT))

    def images(self, folder: Path) -> None:
        """CRIU's images, those of the steps that were written ahead as well; raises GuardianError for anything else."""
        ahead = [part.name for part in chain.folders(folder)[1:]]
        links = steps.links(len(ahead))
        for name in ("", *(f"{name}/" for name in ahead)):
            self.folder(IMAGES + name)
        for name, entry in chain.entries(folder):
            if entry.is_symlink() and os.readlink(entry.path) == links.get(name):
                self._link(IMAGES + name, links[name])
            elif is_name(IMAGES + name) and entry.is_file(follow_symlinks=False):
                self.file(IMAGES + name, folder / name)
            else:
                raise GuardianError(f"{name!r:.100} is no image of CRIU's", "the images cannot be exported")

    def _link(self, name: str, target: str) -> None:
        """Of use to who unpacks the archive by hand: an import makes its own."""
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        self._write(info.tobuf(tarfile.GNU_FORMAT))

    @contextlib.contextmanager
    def member(self, name: str, size: int) -> Iterator[Write]:
        """A member, to be written in pieces; raises Changed where they are not as long as was said."""
        assert is_name(name), name
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        self._write(info.tobuf(tarfile.GNU_FORMAT))
        digest, left = hashlib.sha256(), size

        def write(data: bytes) -> None:
            nonlocal left
            left -= len(data)
            if left < 0:
                raise Changed(f"{name} became longer while it was archived")
            digest.update(data)
            self._write(data)

        yield write
        if left:
            raise Changed(f"{name} became shorter while it was archived")
        self._write(bytes(-size % BLOCK))
        self.members.append(Part(name, size, digest.hexdigest()))

    def data(self, name: str, data: bytes) -> None:
        """A small member."""
        with self.member(name, len(data)) as write:
            write(data)

    def json(self, name: str, data: Any) -> None:
        """A small member as JSON."""
        self.data(name, json.dumps(data, indent=1).encode() + b"\n")

    def file(self, name: str, path: Path) -> None:
        """A regular file; raises GuardianError for anything else."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            seen = os.fstat(descriptor)
            if not stat.S_ISREG(seen.st_mode):
                raise GuardianError(f"{path.name} is no regular file")
            with self.member(name, seen.st_size) as write:
                while data := file.read(_CHUNK):
                    write(data)

    def parts(self, chunks: Iterable[bytes]) -> None:
        """What has no known length, as numbered members."""
        waiting, number = bytearray(), 0
        for chunk in chunks:
            waiting += chunk
            while len(waiting) >= _PART:
                self.data(f"{IMAGE}{number:06d}", bytes(waiting[:_PART]))
                del waiting[:_PART]
                number += 1
        self.data(f"{IMAGE}{number:06d}", bytes(waiting))

    def finish(self, manifest: Manifest) -> Manifest:
        """End the archive with the manifest, which then has all members; returns it."""
        manifest = dataclasses.replace(manifest, members=tuple(self.members))
        self.json(MANIFEST, manifest.to_json())
        self._write(END)
        return manifest
