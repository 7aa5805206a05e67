"""Unpacks an archive of hostile origin into a folder of its own, and believes it only when its manifest agrees."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from guardian.host import tar_reader
from guardian.host.tar_reader import BadArchive, Member, Readable
from guardian.model import archive, json_text, steps
from guardian.model.archive import (
    FOLDERS,
    IMAGE,
    IMAGES,
    MANIFEST,
    MOST_MEMBERS,
    MOST_SMALL,
    Manifest,
    Part,
    is_name,
)
from guardian.model.errors import BadInput

_MOST_JSON_DEPTH = 100
_CHUNK = 1 << 20


def unpack(
    stream: Readable, folder: Path, *, most: int, make_images: Callable[[Path], None] = Path.mkdir
) -> Manifest:
    """Unpack into an empty folder and check names, kinds, lengths and hashes; returns the manifest.

    `most`: bytes at most. `make_images` makes the folder for images.
    Raises BadArchive or BadInput: what is in the folder then is of no use.
    """
    found: dict[str, Part] = {}
    links: dict[str, str] = {}
    manifest: Manifest | None = None
    for member in tar_reader.members(stream, most=most):
        if manifest is not None:
            raise BadArchive("the archive goes on behind its manifest")
        if member.info.type == tarfile.DIRTYPE:
            continue  # the folders that there may be are made here
        if member.info.type == tarfile.SYMTYPE:
            _note_link(member, links)
            continue
        _check(member, found)
        if not found:
            _make_folders(folder, make_images)
        found[member.path] = _written(member, folder / member.path)
        if member.path == MANIFEST:
            manifest = Manifest.from_json(read_json(folder / MANIFEST))
    if manifest is None:
        raise BadArchive("the archive is cut off", "it has no manifest")
    del found[MANIFEST]
    _compare(manifest, found, links)
    return manifest


def _make_folders(folder: Path, make_images: Callable[[Path], None]) -> None:
    for name in FOLDERS:
        if f"{name}/" == IMAGES:
            make_images(folder / name)
        else:
            (folder / name).mkdir(mode=0o700)


def _compare(manifest: Manifest, found: dict[str, Part], links: dict[str, str]) -> None:
    """Raises BadArchive or BadInput where the manifest does not say what was there, or the links are others."""
    said = {part.name: part for part in manifest.members}
    for name in sorted(said.keys() ^ found.keys()):
        raise BadArchive(f"the archive and its manifest do not agree about {name!r}")
    for name, part in said.items():
        if part != found[name]:
            raise BadArchive(f"{name!r} is not what it was", "length or SHA-256 differ from the manifest's")
    if archive.links(found) != links:
        raise BadArchive("the links in the archive are not those of its images")


def _note_link(member: Member, links: dict[str, str]) -> None:
    """Remember a link, to be compared: none is ever made from what an archive says, and nothing is written over one."""
    name = member.info.name
    if member.info.pax_headers or name in links or len(links) >= steps.MOST:
        raise BadArchive(f"{name!r:.100} is no ordinary file", "nothing else belongs into an archive")
    links[name] = member.info.linkname


def _check(member: Member, found: dict[str, Part]) -> None:
    info, name = member.info, member.info.name
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.pax_headers or info.sparse:
        raise BadArchive(f"{name!r:.100} is no ordinary file", "nothing else belongs into an archive")
    if not is_name(name):
        raise BadArchive(f"{name!r:.100} is no name of this format")
    if name in found:
        raise BadArchive(f"{name!r} is in the archive twice")
    if len(found) >= MOST_MEMBERS:
        raise BadArchive("the archive has too many members")
    if name.endswith((".json", ".dump")) and info.size > MOST_SMALL and name != "dump.log":
        raise BadArchive(f"{name!r} is too large", f"{info.size} bytes")


def _written(member: Member, path: Path) -> Part:
    digest = hashlib.sha256()
    if steps.is_step(path.parent.name):
        path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=_CHUNK) as file:
        for data in member.chunks():
            digest.update(data)
            file.write(data)
    return Part(member.path, member.info.size, digest.hexdigest())


def read_json(path: Path) -> Any:
    """A small file as JSON; raises BadInput."""
    try:
        if path.stat().st_size > MOST_SMALL:
            raise BadInput(f"{path.name} is too large")
        return json_text.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path.name} does not parse", f"{error!s:.200}") from error


def image_parts(folder: Path, manifest: Manifest) -> Iterator[bytes]:
    """docker's archive of the image, put together again."""
    for name in sorted(part.name for part in manifest.members if part.name.startswith(IMAGE)):
        with (folder / name).open("rb") as file:
            while data := file.read(_CHUNK):
                yield data


class Joined:
    """Pieces of bytes as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, none at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def image_tags(folder: Path, manifest: Manifest) -> set[str]:
    """The names that `docker load` would give to images; raises BadArchive."""
    tags: set[str] = set()
    for member in tar_reader.members(Joined(image_parts(folder, manifest))):
        if member.path not in ("manifest.json", "index.json", "repositories"):
            continue
        if member.info.size > MOST_SMALL:
            raise BadArchive("the image's description is too large")
        try:
            tags |= set(_tags(json_text.loads(b"".join(member.chunks())), 0))
        except ValueError as error:
            raise BadArchive("the image's description does not parse", f"{error!s:.200}") from error
    return tags


def _tags(data: Any, depth: int) -> Iterator[str]:
    """Names in manifest.json (RepoTags), index.json (annotations) and repositories (names, then tags)."""
    if depth > _MOST_JSON_DEPTH:
        return
    if isinstance(data, list):
        for item in data:
            yield from _tags(item, depth + 1)
    elif isinstance(data, dict):
        for key, value in data.items():
            if key == "RepoTags" and isinstance(value, list):
                yield from (str(item) for item in value)
            elif key == "io.containerd.image.name":
                yield str(value)
            elif isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
                yield from (f"{key}:{tag}" for tag in value) if depth == 0 else ()
                yield from _tags(value, depth + 1)
            else:
                yield from _tags(value, depth + 1)
