"""Deleted files that were open: CRIU keeps their content as ghosts, whole or as the stretches that had data."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

from pycriu.images import pb

from guardian.host.images.folder import BadImage, Data, Folder
from guardian.host.images.text import text

_KIND = "GHOST_FILE"
_CHUNK = 1 << 16
_MOST_SIZE = 1 << 50


@dataclasses.dataclass(frozen=True)
class Ghost:
    """A deleted file. `mode` with its kind; `modified` is wall-clock seconds, 0 where CRIU has not kept it."""

    folder: Folder
    image: str
    mode: int
    uid: int
    gid: int
    size: int
    modified: float
    target: str

    def chunks(self) -> Iterator[bytes]:
        """Its content, holes as zeros."""
        at = 0
        for offset, data in _stretches(self.folder, self.image):
            if offset < at or offset + data.length > self.size:
                raise BadImage(f"{self.image} does not parse", f"data at {offset}")
            yield from _zeros(offset - at)
            yield from _content(data)
            at = offset + data.length
        yield from _zeros(self.size - at)


def read(folder: Folder, image: str) -> Ghost:
    """What an image says of a deleted file; raises BadImage."""
    entry, data = _first(folder, image)
    chunked = bool(entry.chunks)
    size = int(entry.size) if chunked else data.length
    if size > _MOST_SIZE:
        raise BadImage(f"{image} does not parse", f"{size} bytes")
    return Ghost(
        folder=folder,
        image=image,
        mode=int(entry.mode),
        uid=int(entry.uid),
        gid=int(entry.gid),
        size=size,
        modified=int(entry.mtim.tv_sec) + int(entry.mtim.tv_usec) / 1e6 if entry.HasField("mtim") else 0.0,
        target=text(entry.symlnk_target) if entry.HasField("symlnk_target") else "",
    )


def _first(folder: Folder, image: str) -> tuple[pb.ghost_file_entry, Data]:
    """The entry of an image, and all that is behind it."""
    for entry, data in folder.with_data(image, _KIND, pb.ghost_file_entry, lambda _: 0):
        end = os.lstat(folder.path / image).st_size
        return entry, Data(data.file, data.offset, end - data.offset)
    raise BadImage(f"{image} is empty")


def _stretches(folder: Folder, image: str) -> Iterator[tuple[int, Data]]:
    entry, rest = _first(folder, image)
    if not entry.chunks:
        yield 0, rest
        return
    for chunk, data in folder.behind(image, rest.offset, pb.ghost_chunk_entry, lambda item: int(item.len)):
        yield int(chunk.off), data


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield bytes(min(length, _CHUNK))
        length -= _CHUNK


def _content(data: Data) -> Iterator[bytes]:
    for at in range(0, data.length, _CHUNK):
        yield Data(data.file, data.offset + at, data.length - at).read(most=_CHUNK)
