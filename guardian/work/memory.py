"""Looking into the memory of a dump: what is found is made fit to be shown."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from guardian.host.images import kernel_names, reading
from guardian.host.images.files import OpenFiles
from guardian.host.images.folder import Folder
from guardian.host.images.memory import Memory, Where
from guardian.host.images.scanning import MOST_MATCH
from guardian.host.images.search import Hit, Missing, Pattern, Search, processes
from guardian.host.images.stretches import Pages
from guardian.model import secrets
from guardian.model.errors import BadInput
from guardian.model.wording import escaped
from guardian.work.inspection import note_reveal

LEAST_STRING = 4
"""Characters, as strings(1) has it."""
_MOST_LEAST = 4096
_MOST_SHOWN = 4096
"""Bytes of a match that are shown; its length is always told."""


Disclose = Callable[[bytes], bytes]
"""Every byte of memory that is shown passes through it, with what is shown around it; the length stays the same."""


def disclosure(folder: Folder, *, reveal: bool) -> Disclose:
    """What hides secrets, or, as is written into the system's log, does not."""
    if reveal:
        note_reveal(str(folder.path), "memory")
        return lambda data: data
    return secrets.covered


@dataclasses.dataclass(frozen=True)
class Shown:
    """A hit as it is shown: `match` and what lies around it as one line of text each."""

    pid: int
    address: int
    length: int
    mapping: str
    kind: str
    protection: str
    match: str
    before: str
    after: str

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class MappingShown:
    """A mapping as it is listed. `in_image`, `lazy`: bytes in the images, bytes left on the host of the dump.

    `pages` are the stretches that are in the images: address and bytes.
    """

    pid: int
    start: int
    end: int
    protection: str
    kind: str
    name: str
    offset: int
    in_image: int
    lazy: int
    pages: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return dataclasses.asdict(self)


class Finding:
    """A search, or a listing of strings. `more` and `missing` are known once all of it has been taken."""

    def __init__(
        self,
        search: Search,
        disclose: Disclose,
        wide: Callable[[bytes], bool],
        most: int | None = None,
        shown: int = MOST_MATCH,
    ) -> None:
        self._search = search
        self._disclose = disclose
        self._wide = wide
        self._most = most
        self._shown = shown
        self.more = False
        """Whether there are more hits than were asked for."""

    @property
    def missing(self) -> list[Missing]:
        """What could not be looked through."""
        return self._search.missing

    def all(self) -> Iterator[Shown]:
        """The hits; raises BadImage and BadInput."""
        hits = self._search.hits()
        for hit in hits if self._most is None else itertools.islice(hits, self._most):
            yield _shown(hit, self._disclose, wide=self._wide(hit.matched), most=self._shown)
        if self._most is not None:
            self.more = next(hits, None) is not None


def search(
    folder: Folder,
    pattern: Pattern,
    written: str,
    disclose: Disclose,
    *,
    pid: int | None,
    context: int,
    most: int,
) -> Finding:
    """Look for something in the memory of all processes, or of one."""
    looked_for = pattern.bytes_of(written)
    found = Search(folder, looked_for, fixed=pattern is not Pattern.REGEX, pid=pid, context=context)
    return Finding(found, disclose, lambda _: pattern is Pattern.UTF16, most, _MOST_SHOWN)


def strings(folder: Folder, disclose: Disclose, *, pid: int | None, least: int) -> Finding:
    """Text of at least so many characters, ASCII and UTF-16."""
    if not 1 <= least <= _MOST_LEAST:
        raise BadInput("the least length does not parse", f"it must lie between 1 and {_MOST_LEAST}")
    expression = rf"[\t -~]{{{least},}}|(?:[\t -~]\x00){{{least},}}"
    found = Search(folder, expression.encode(), fixed=False, pid=pid)
    return Finding(found, disclose, lambda data: data[1:2] == b"\0")


def _shown(hit: Hit, disclose: Disclose, *, wide: bool, most: int) -> Shown:
    data = disclose(hit.before + hit.matched + hit.after)
    begin, end = len(hit.before), len(hit.before) + len(hit.matched)
    mapping = hit.mapping
    return Shown(
        pid=hit.pid,
        address=hit.address,
        length=len(hit.matched),
        mapping=hit.name,
        kind=mapping.kind,
        protection=kernel_names.protection(mapping.protection, shared=mapping.shared),
        match=escaped(data[begin : min(end, begin + most)], wide=wide),
        # Two-byte characters are counted from the match on, backwards and forwards.
        before=escaped(data[begin % 2 if wide else 0 : begin], wide=wide),
        after=escaped(data[end:], wide=wide),
    )


def mappings(folder: Folder, *, pid: int | None) -> Iterator[MappingShown]:
    """Every mapping of every process, or of one."""
    files = OpenFiles(folder)
    for each in processes(folder, pid):
        memory = Memory(folder, each, files)
        for mapping in memory.mappings:
            held = dict.fromkeys(Where, 0)
            pages: list[tuple[int, int]] = []
            for run in memory.runs(mapping):
                held[run.where] += run.length
                if run.where is Where.PAGES:
                    joined = bool(pages) and sum(pages[-1]) == run.address
                    begin = pages.pop()[0] if joined else run.address
                    pages.append((begin, run.end - begin))
            yield MappingShown(
                pid=each,
                start=mapping.start,
                end=mapping.end,
                protection=kernel_names.protection(mapping.protection, shared=mapping.shared),
                kind=mapping.kind,
                name=memory.name(mapping),
                offset=mapping.offset,
                in_image=held[Where.PAGES],
                lazy=held[Where.LAZY],
                pages=tuple(pages),
            )


def read(
    folder: Folder, pid: int, written: str, disclose: Disclose, *, single: bool
) -> Iterator[reading.Piece]:
    """The pieces of a range, a mapping or all mappings of a name; `single` refuses more than one range."""
    memory = Memory(folder, processes(folder, pid)[0], OpenFiles(folder))
    found = reading.ranges(memory, written)
    if single and len(found) > 1:
        raise BadInput(f"{len(found)} mappings have this name", hint="give the address of one")
    with Pages() as pages:
        for begin, end in found:
            for piece in reading.read(memory, pages, begin, end):
                data = piece.data
                yield piece if data is None else dataclasses.replace(piece, data=disclose(data))
