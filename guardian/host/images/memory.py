"""The memory of processes: which address lies where in which file, through parents, shared and zero pages."""

from __future__ import annotations

import bisect
import dataclasses
import enum
import functools
import importlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pycriu.images import pb

from guardian.host.images.files import OpenFiles
from guardian.host.images.folder import BadImage, Folder, Message

PAGE = 4096
_MOST_PARENTS = 64
_PARENT, _LAZY, _PRESENT = 1, 2, 4  # criu/include/pagemap.h
_MOST_ADDRESS = 1 << 64
_WIDE_PAGES = 5
"""pagemap_entry.nr_pages of CRIU 4.2 (images/pagemap.proto)."""

_REGULAR, _VSYSCALL, _VVAR = 1 << 0, 1 << 2, 1 << 12  # criu/include/image.h, VMA_AREA_*
_HEAP, _STACK, _VDSO = 1 << 5, 1 << 1, 1 << 3
_FILE_PRIVATE, _FILE_SHARED, _ANON_SHARED, _ANON_PRIVATE = 1 << 6, 1 << 7, 1 << 8, 1 << 9
_SYSVIPC, _MEMFD = 1 << 10, 1 << 14


class Where(enum.Enum):
    """Where the content of a stretch of memory is."""

    PAGES = "pages"
    """In an image of pages."""

    LAZY = "lazy"
    """Left on the host it was dumped on, to be fetched when touched."""

    ABSENT = "absent"
    """In no image: never touched (then zero), or as in the file that is mapped."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """`length` bytes of memory from `address` on; in `file` from `offset` on where they are in an image."""

    address: int
    length: int
    where: Where
    file: Path | None = None
    offset: int = 0

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.length

    def cut(self, begin: int, end: int) -> Run:
        """The part between two addresses that lie in it."""
        return Run(begin, end - begin, self.where, self.file, self.offset + begin - self.address)

    def moved(self, by: int) -> Run:
        """The same content at another address."""
        return Run(self.address + by, self.length, self.where, self.file, self.offset)


@dataclasses.dataclass(frozen=True)
class Mapping:
    """One mapping of a process. `file_id` names a file of files.img where it maps one, else 0.

    `kind` is heap, stack, vdso, file, shared (anonymous), memfd, sysv or anonymous. `offset` is that in the file,
    `shared_id` names shared memory that is no file.
    """

    start: int
    end: int
    protection: int
    shared: bool
    kind: str
    file_id: int
    offset: int
    shared_id: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    @property
    def zero_where_absent(self) -> bool:
        """Whether pages that are in no image were never touched; else they are as in the file, or the kernel's."""
        return self.kind in _ZERO


class PageMap:
    """The runs of one pagemap, parents seen through, by address."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = sorted(runs, key=lambda run: run.address)
        self._starts = [run.address for run in self.runs]
        for before, after in zip(self.runs, self.runs[1:], strict=False):
            if before.end > after.address:
                raise BadImage("a pagemap has a page twice", f"at {after.address:#x}")

    def between(self, begin: int, end: int) -> Iterator[Run]:
        """What is known of the addresses from `begin` to `end`; gaps are left out."""
        place = max(0, bisect.bisect_right(self._starts, begin) - 1)
        for run in self.runs[place:]:
            if run.address >= end:
                return
            if run.end > begin:
                yield run.cut(max(begin, run.address), min(end, run.end))


def page_map(folder: Folder, name: str, *, depth: int = 0) -> PageMap:
    """Read a pagemap; pages that an earlier dump has are looked up there."""
    if depth > _MOST_PARENTS:
        raise BadImage("the chain of parent images has no end", str(folder.path))
    pages_id, entries = folder.pagemap(name)
    pages = folder.path / f"pages-{pages_id}.img"
    size = pages.lstat().st_size if pages.exists() else 0
    parent: PageMap | None = None
    runs: list[Run] = []
    offset = begin = length = 0  # the run of pages that is being put together ends at `offset` of the file

    def put() -> None:
        if length:
            runs.append(Run(begin, length, Where.PAGES, pages, offset - length))

    for entry in entries:
        size_of, address = _page_count(entry, name) * PAGE, int(entry.vaddr)
        if address % PAGE or address + size_of > _MOST_ADDRESS:
            raise BadImage(f"{name} does not parse", f"{size_of} bytes at {address:#x}")
        flags = int(entry.flags)
        if entry.in_parent or flags & _PARENT:
            parent = parent or page_map(_parent_of(folder), name, depth=depth + 1)
            runs += parent.between(address, address + size_of)
        elif flags & _LAZY and not flags & _PRESENT:
            runs.append(Run(address, size_of, Where.LAZY))
        else:
            if offset + size_of > size:
                raise BadImage(
                    f"{pages.name} is cut off", f"it ends at {size}, {name} says {offset + size_of}"
                )
            if address != begin + length:
                put()
                begin, length = address, 0
            length += size_of
            offset += size_of
    put()
    return PageMap(runs)


def _page_count(entry: Message, name: str) -> int:
    """The pages of an entry. CRIU 4.2 has moved the number to a wider field, which an older pycriu does not know."""
    count = int(entry.nr_pages or getattr(entry, "compat_nr_pages", 0))
    if not count:
        count = next((int(field.data) for field in _unknown(entry) if field.field_number == _WIDE_PAGES), 0)
    if count <= 0:
        raise BadImage(
            f"{name} does not parse", "an entry without pages", hint="is python3-pycriu older than CRIU?"
        )
    return count


def _unknown(entry: Message) -> Iterable[Any]:
    """The fields of a message that this pycriu does not know."""
    try:
        return importlib.import_module("google.protobuf.unknown_fields").UnknownFieldSet(entry)  # type: ignore[no-any-return]
    except ImportError:  # before protobuf 4.22
        return entry.UnknownFields()  # type: ignore[no-any-return]


def _parent_of(folder: Folder) -> Folder:
    parent = folder.path / "parent"
    try:
        target = Path(os.path.realpath(parent, strict=True))
    except OSError as error:
        raise BadImage("the parent images are missing", str(error)) from error
    if not target.is_dir():
        raise BadImage("the parent images are missing", f"{target} is no folder")
    return Folder(target)


class Memory:
    """The memory of one process."""

    def __init__(self, folder: Folder, pid: int, files: OpenFiles) -> None:
        self.pid = pid
        self._folder = folder
        self._files = files
        self.layout: Message = folder.one(f"mm-{pid}.img", "MM", pb.mm_entry)
        stack = int(self.layout.mm_start_stack)
        self.mappings = tuple(_mapping(vma, stack) for vma in self.layout.vmas)
        for before, after in zip(self.mappings, self.mappings[1:], strict=False):
            if before.end > after.start:
                raise BadImage(f"mm-{pid}.img has mappings that overlap", f"at {after.start:#x}")
        self._shared: dict[int, PageMap] = {}

    @functools.cached_property
    def _private(self) -> PageMap:
        name = f"pagemap-{self.pid}.img"
        return page_map(self._folder, name) if self._folder.has(name) else PageMap(())

    def runs(self, mapping: Mapping) -> Iterator[Run]:
        """The content of a mapping, in order of addresses; what is in no image is absent."""
        position = mapping.start
        for run in self._known(mapping):
            if run.address > position:
                yield Run(position, run.address - position, Where.ABSENT)
            yield run
            position = run.end
        if position < mapping.end:
            yield Run(position, mapping.end - position, Where.ABSENT)

    def _known(self, mapping: Mapping) -> Iterator[Run]:
        place = self.shared_place(mapping)
        if place is None:
            yield from self._private.between(mapping.start, mapping.end)
            return
        shmid, offset = place
        for run in self.shared_pages(shmid).between(offset, offset + mapping.size):
            yield run.moved(mapping.start - offset)

    def shared_place(self, mapping: Mapping) -> tuple[int, int] | None:
        """Which shared memory a mapping shows, and from which byte of it on: its pages are kept once, by place."""
        match mapping.kind:
            case "memfd":
                return self._files.shared_memory(mapping.file_id), mapping.offset
            case "shared":
                return mapping.shared_id, mapping.offset
            case "sysv":
                return mapping.shared_id, 0
        return None

    def name(self, mapping: Mapping) -> str:
        """The path of what is mapped, or [heap], [stack], ..."""
        name = self._files.path_of(mapping.file_id) if mapping.file_id else ""
        return name or f"[{mapping.kind}]"

    def shared_pages(self, shmid: int) -> PageMap:
        """The pages of shared memory, by place in it."""
        if shmid not in self._shared:
            name = f"pagemap-shmem-{shmid}.img"
            self._shared[shmid] = page_map(self._folder, name) if self._folder.has(name) else PageMap(())
        return self._shared[shmid]

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from one address to another, all of which must be mapped; absent ones are zero.

        Raises BadImage where they are not mapped. The caller sees to it that they are few.
        """
        found = bytearray()
        for mapping in self.mappings:
            low, high = max(begin, mapping.start), min(end, mapping.end)
            if low >= high:
                continue
            if low != begin + len(found):
                break
            for run in self.runs(mapping):
                start, stop = max(low, run.address), min(high, run.end)
                if start < stop:
                    found += content(run.cut(start, stop))
        if len(found) != end - begin:
            raise BadImage(f"{begin:#x} to {end:#x} of process {self.pid} is not mapped")
        return bytes(found)


def content(run: Run) -> bytes:
    """The bytes of a run, zero where they are in no image; the caller sees to it that they are few."""
    if run.file is None:
        return bytes(run.length)
    with run.file.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), run.length, run.offset)


def _mapping(vma: Message, stack: int) -> Mapping:
    if vma.start % PAGE or vma.end % PAGE or not vma.start < vma.end:
        raise BadImage("a mapping does not parse", f"{vma.start:#x} to {vma.end:#x}")
    status = int(vma.status)
    kind = next((word for bit, word in _KINDS if status & bit), "anonymous")
    if kind == "anonymous" and vma.start <= stack < vma.end:
        kind = "stack"  # CRIU does not say
    is_file = status & (_FILE_PRIVATE | _FILE_SHARED | _MEMFD) != 0
    return Mapping(
        start=int(vma.start),
        end=int(vma.end),
        protection=int(vma.prot),
        shared=bool(vma.flags & 1),
        kind=kind,
        file_id=int(vma.shmid) if is_file else 0,
        offset=int(vma.pgoff),
        shared_id=0 if is_file else int(vma.shmid),
    )


_ZERO = frozenset(("anonymous", "heap", "stack", "shared", "memfd", "sysv"))
_KINDS = (
    (_VSYSCALL, "vsyscall"),
    (_VVAR, "vvar"),
    (_VDSO, "vdso"),
    (_MEMFD, "memfd"),
    (_SYSVIPC, "sysv"),
    (_FILE_PRIVATE, "file"),
    (_FILE_SHARED, "file"),
    (_ANON_SHARED, "shared"),
    (_HEAP, "heap"),
    (_STACK, "stack"),
)
