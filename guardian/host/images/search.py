"""Search of the memory of all processes of a dump.

Private memory is searched process by process, across mappings that lie side by side. Shared memory (anonymous, memfd,
System V) is searched once, as a whole of its own, and what is found is told of each process and mapping that shows it.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import enum
from collections.abc import Iterable, Iterator, Sequence

from guardian.host.images.files import OpenFiles
from guardian.host.images.folder import BadImage, Folder
from guardian.host.images.memory import Mapping, Memory, Run, Where
from guardian.host.images.processes import tree
from guardian.host.images.scanning import Scanner
from guardian.host.images.stretches import Stretch, stretches
from guardian.model.errors import BadInput

MOST_CONTEXT = 4096
"""Bytes before and after a match."""
_MOST_VIEWS = 1 << 20


class Pattern(enum.Enum):
    """How what is searched for was written."""

    TEXT = "text"
    HEX = "hex"
    REGEX = "regex"
    UTF16 = "utf16"

    def bytes_of(self, written: str) -> bytes:
        """What is looked for; raises BadInput."""
        try:
            match self:
                case Pattern.HEX:
                    return bytes.fromhex(written)
                case Pattern.UTF16:
                    return written.encode("utf-16-le")
                case _:
                    return written.encode("utf-8", "surrogateescape")
        except ValueError as error:
            raise BadInput("the pattern does not parse", str(error)) from error


@dataclasses.dataclass(frozen=True)
class Hit:
    """A match (at most MOST_MATCH bytes), with what lies side by side with it in memory."""

    pid: int
    address: int
    mapping: Mapping
    name: str
    matched: bytes
    before: bytes
    after: bytes


@dataclasses.dataclass(frozen=True)
class Missing:
    """Memory that is on the host where it was dumped, not in the images."""

    pid: int
    address: int
    length: int
    name: str


@dataclasses.dataclass(frozen=True)
class _View:
    """Mappings of a process that show the bytes from `low` to `high` of what is searched, moved by `shift`."""

    memory: Memory
    mappings: tuple[Mapping, ...]
    low: int
    high: int
    shift: int

    def mapping_at(self, address: int) -> Mapping:
        return self.mappings[bisect.bisect_right(self.mappings, address, key=lambda item: item.start) - 1]


def processes(folder: Folder, pid: int | None = None) -> list[int]:
    """The processes that have memory, parents first, or just the one; raises BadInput where it has none."""
    found = [int(entry.pid) for entry in tree(folder) if folder.has(f"mm-{int(entry.pid)}.img")]
    if pid is None:
        return found
    if pid not in found:
        raise BadInput(f"there is no process {pid} with memory in the images", f"there are {found[:20]}")
    return [pid]


class Search:
    """One search. `missing` is complete once all hits have been taken."""

    def __init__(
        self, folder: Folder, pattern: bytes, *, fixed: bool, pid: int | None = None, context: int = 0
    ) -> None:
        self._folder = folder
        self._scanner = Scanner(pattern, fixed=fixed)
        self._context = max(0, min(context, MOST_CONTEXT))
        self._files = OpenFiles(folder)
        self._pids = processes(folder, pid)
        self.missing: list[Missing] = []

    def hits(self) -> Iterator[Hit]:
        """Each match, by address within a process; raises BadImage and BadInput."""
        with contextlib.ExitStack() as stack:
            scanner = stack.enter_context(self._scanner)
            shared = self._shared()
            for pid in self._pids:
                memory = Memory(self._folder, pid, self._files)
                view = _View(memory, memory.mappings, 0, 1 << 64, 0)
                yield from self._among(scanner, stretches(self._private(memory)), (view,))
            for shmid, views in shared.items():
                runs = self._of_shared(shmid, views)
                yield from self._among(scanner, stretches(runs), views)

    def _among(self, scanner: Scanner, found: Iterable[Stretch], views: Sequence[_View]) -> Iterator[Hit]:
        for stretch, begin, end in scanner.matches(found):
            for view in views:
                if view.low <= begin and end <= view.high:
                    yield self._hit(scanner, stretch, begin, end, view)

    def _hit(self, scanner: Scanner, stretch: Stretch, begin: int, end: int, view: _View) -> Hit:
        address = begin + view.shift
        mapping = view.mapping_at(address)

        def read(low: int, high: int) -> bytes:
            low, high = max(low, view.low, stretch.begin), min(high, view.high, stretch.end)
            return stretch.read(scanner.pages, low, high) if low < high else b""

        return Hit(
            pid=view.memory.pid,
            address=address,
            mapping=mapping,
            name=view.memory.name(mapping),
            matched=read(begin, end),
            before=read(begin - self._context, begin),
            after=read(end, end + self._context),
        )

    def _private(self, memory: Memory) -> Iterator[Run]:
        """What is known of private memory."""
        for mapping in memory.mappings:
            if memory.shared_place(mapping) is not None:
                continue
            for run in memory.runs(mapping):
                if run.where is Where.LAZY:
                    self.missing.append(Missing(memory.pid, run.address, run.length, memory.name(mapping)))
                elif run.where is Where.PAGES or mapping.zero_where_absent:
                    yield run

    def _shared(self) -> dict[int, list[_View]]:
        """Who shows which shared memory."""
        found: dict[int, list[_View]] = {}
        count = 0
        for pid in self._pids:
            memory = Memory(self._folder, pid, self._files)
            for mapping in memory.mappings:
                place = memory.shared_place(mapping)
                if place is None:
                    continue
                shmid, offset = place
                views = found.setdefault(shmid, [])
                view = _View(memory, (mapping,), offset, offset + mapping.size, mapping.start - offset)
                last = views[-1] if views else None
                if last and last.memory is memory and (last.high, last.shift) == (view.low, view.shift):
                    # A mapping that was split shows the same memory side by side.
                    view = dataclasses.replace(view, mappings=(*last.mappings, mapping), low=last.low)
                    views.pop()
                views.append(view)
                count += 1
                if count > _MOST_VIEWS:
                    raise BadImage("the images have too many mappings of shared memory")
        return found

    def _of_shared(self, shmid: int, views: Sequence[_View]) -> Iterator[Run]:
        """The content of shared memory, as far as it is shown."""
        pages = views[0].memory.shared_pages(shmid)
        for low, high in _union(views):
            position = low
            for run in pages.between(low, high):
                if run.address > position:
                    yield Run(position, run.address - position, Where.ABSENT)
                position = run.end
                if run.where is not Where.LAZY:
                    yield run
                    continue
                for view in views:
                    begin, end = max(view.low, run.address), min(view.high, run.end)
                    if begin < end:
                        name = view.memory.name(view.mappings[0])
                        self.missing.append(Missing(view.memory.pid, begin + view.shift, end - begin, name))
            if position < high:
                yield Run(position, high - position, Where.ABSENT)


def _union(views: Sequence[_View]) -> Iterator[tuple[int, int]]:
    """The places that any view shows, joined where they touch."""
    places = sorted((view.low, view.high) for view in views)
    low, high = places[0]
    for begin, end in places[1:]:
        if begin > high:
            yield low, high
            low, high = begin, end
        high = max(high, end)
    yield low, high
