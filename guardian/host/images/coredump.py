"""A process of a dump as an ELF core file for debuggers, streamed and sparse.

In the order of Linux's fs/binfmt_elf.c: notes of the process and its threads, then a segment for each mapping. A
mapping is several segments where pages are missing that are not zero (those of its file, which debuggers read from the
file itself, and those left on the host of the dump): they have no content in the file. No signal ended the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path

from pycriu.images import pb

from guardian.host import durable
from guardian.host.images import elf, registers
from guardian.host.images.elf import Segment, note
from guardian.host.images.files import OpenFiles
from guardian.host.images.folder import BadImage, Folder, Message
from guardian.host.images.memory import Mapping, Memory, Run, Where
from guardian.host.images.processes import tree
from guardian.host.images.stretches import Pages, Stretch
from guardian.host.images.sysroot import open_below
from guardian.model.errors import BadInput, StoreError

MOST_HOLE = 64 << 20
"""Bytes: zeros up to this long are a hole in the file; a longer absence has no content, files have a largest size."""
_CHUNK = 64 << 10
_MOST_NOTES = 64 << 20
_MOST_ARGUMENTS = 80
_STOPPED = 3  # TASK_STOPPED of criu/include/pstree.h


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written: `size` is bytes of memory in the file, `absent` and `lazy` bytes that are not."""

    file: Path
    threads: int
    size: int
    absent: int
    lazy: int


@dataclasses.dataclass(frozen=True)
class _Content:
    """A segment with what is in it: `runs` of the images, or the bytes of a file of the sysroot from an offset on."""

    segment: Segment
    runs: tuple[Run, ...] = ()
    path: str = ""
    offset: int = 0
    why: Where = Where.PAGES


def write(folder: Folder, pid: int, target: Path, *, sysroot: Path | None = None) -> Written:
    """Make the core file of a process, mode 0600, as a whole or not at all.

    With a `sysroot`, pages that are as in a mapped file are taken from that file below it. Raises BadImage (another
    architecture, a 32-bit process), BadInput (no such process) and StoreError.
    """
    dump = _Dump(folder, pid, sysroot)
    notes = dump.notes()
    contents = list(dump.contents())
    head, offsets = elf.headers([item.segment for item in contents], len(notes))
    ends = [
        offset + item.segment.length
        for item, offset in zip(contents, offsets, strict=True)
        if item.segment.in_file
    ]
    with _replacing(target) as descriptor, Pages() as pages:
        _write_all(descriptor, head + notes, 0)
        for item, offset in zip(contents, offsets, strict=True):
            dump.fill(descriptor, item, offset, pages)
        os.ftruncate(descriptor, max(ends, default=len(head) + len(notes)))
    sizes = dict.fromkeys(Where, 0)
    for item in contents:
        sizes[item.why] += item.segment.length
    return Written(target, len(dump.threads), sizes[Where.PAGES], sizes[Where.ABSENT], sizes[Where.LAZY])


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[int]:
    """A new file for writing that takes the target's place at the end; OSErrors become StoreErrors."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, target)
        durable.sync_folder(target.parent)
    except OSError as error:
        raise StoreError("the core file cannot be written", str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


class _Dump:
    """What is to be written of one process."""

    def __init__(self, folder: Folder, pid: int, sysroot: Path | None) -> None:
        entry = next((item for item in tree(folder) if int(item.pid) == pid), None)
        if entry is None:
            raise BadInput(f"there is no process {pid} in the images")
        self._folder = folder
        self._entry = entry
        self._sysroot = sysroot
        self._files = OpenFiles(folder)
        self.threads = [pid, *(int(tid) for tid in entry.threads if int(tid) != pid)]
        self._leader = registers.core(folder, pid)
        if not folder.has(f"mm-{pid}.img"):
            raise BadInput(f"process {pid} has no memory", "it was dead")
        self._memory = Memory(folder, pid, self._files)

    def notes(self) -> bytes:
        """All notes: the leader's status first, debuggers take it for the current thread."""
        found = [
            self._status(self.threads[0], self._leader),
            note(elf.NT_PRPSINFO, self._information()),
            note(elf.NT_AUXV, self._auxiliary()),
            note(elf.NT_FILE, elf.mapped_files(self._mapped())),
            *self._floating(self._leader),
        ]
        size = sum(map(len, found))
        for tid in self.threads[1:]:
            core = registers.core(self._folder, tid)
            found += (self._status(tid, core), *self._floating(core))
            size += sum(map(len, found[-3:]))
            if size > _MOST_NOTES:
                raise BadImage("the process has too many threads", str(len(self.threads)))
        return b"".join(found)

    def _status(self, tid: int, core: Message) -> bytes:
        thread = core.thread_core
        blocked = thread.blk_sigset if thread.HasField("blk_sigset") else core.tc.blk_sigset
        numbers = {int.from_bytes(item.siginfo[:4], "little") for item in thread.signals_p.signals}
        data = elf.status(
            pid=tid,
            **self._family(),
            pending=sum(1 << number - 1 for number in numbers if 1 <= number <= 64),
            held=int(blocked),
            registers=registers.general(core),
        )
        return note(elf.NT_PRSTATUS, data)

    def _family(self) -> dict[str, int]:
        entry = self._entry
        return {
            name: int(number) & 0x7FFFFFFF
            for name, number in (("parent", entry.ppid), ("group", entry.pgid), ("session", entry.sid))
        }

    def _floating(self, core: Message) -> Iterator[bytes]:
        yield note(elf.NT_FPREGSET, registers.floating(core))
        extended = registers.extended(core)
        if extended is not None:
            yield note(elf.NT_X86_XSTATE, extended)

    def _information(self) -> bytes:
        core = self._leader
        pid = self.threads[0]
        thread = core.thread_core
        creds = thread.creds if thread.HasField("creds") else None
        if creds is None and self._folder.has(f"creds-{pid}.img"):
            creds = self._folder.one(f"creds-{pid}.img", "CREDS", pb.creds_entry)
        user, group = (int(creds.uid), int(creds.gid)) if creds is not None else (0, 0)
        return elf.process_information(
            stopped=int(core.tc.task_state) == _STOPPED,
            nice=max(-20, min(19, int(thread.sched_nice))),
            flags=int(core.tc.flags),
            ids=(user, group, pid, *self._family().values()),
            name=core.tc.comm.encode("utf-8", "surrogateescape"),
            arguments=self._arguments(),
        )

    def _arguments(self) -> bytes:
        layout = self._memory.layout
        begin, end = int(layout.mm_arg_start), int(layout.mm_arg_end)
        try:
            data = self._memory.read(begin, min(end, begin + _MOST_ARGUMENTS)) if begin < end else b""
        except BadImage:  # unmapped by the process itself
            data = b""
        return data.rstrip(b"\0").replace(b"\0", b" ")

    def _auxiliary(self) -> bytes:
        found = [int(word) for word in self._memory.layout.mm_saved_auxv]
        pairs = list(zip(found[::2], found[1::2], strict=False))
        end = pairs.index((0, 0)) if (0, 0) in pairs else len(pairs)
        return b"".join(struct.pack("<QQ", *pair) for pair in (*pairs[:end], (0, 0)))

    def _mapped(self) -> Iterator[tuple[int, int, int, bytes]]:
        for mapping in self._memory.mappings:
            if mapping.file_id:
                shown = self._memory.name(mapping)
                name = (f"/{shown} (deleted)" if mapping.kind == "memfd" else shown).encode(
                    "utf-8", "replace"
                )
                yield mapping.start, mapping.end, mapping.offset, name

    def contents(self) -> Iterator[_Content]:
        """The segments, by address."""
        for mapping in self._memory.mappings:
            held: list[Run] = []
            for run in self._memory.runs(mapping):
                zeros = run.where is Where.ABSENT and mapping.zero_where_absent and run.length <= MOST_HOLE
                if run.where is Where.PAGES or zeros:
                    held.append(run)
                    continue
                yield from _segment(mapping, held)
                held = []
                yield self._without(mapping, run)
            yield from _segment(mapping, held)

    def _without(self, mapping: Mapping, run: Run) -> _Content:
        """A part that is in no image: from the sysroot, or without content."""
        path = self._memory.name(mapping) if mapping.kind == "file" and not mapping.shared else ""
        if run.where is Where.ABSENT and path and self._sysroot is not None:
            found = open_below(self._sysroot, path, size=self._files.size_of(mapping.file_id))
            if found is not None:
                os.close(found)
                offset = mapping.offset + run.address - mapping.start
                segment = Segment(run.address, run.length, mapping.protection, in_file=True)
                return _Content(segment, path=path, offset=offset)
        segment = Segment(run.address, run.length, mapping.protection, in_file=False)
        return _Content(segment, why=run.where)

    def fill(self, descriptor: int, item: _Content, offset: int, pages: Pages) -> None:
        """Write a segment's content; what is zero stays a hole."""
        for run in item.runs:
            if run.where is not Where.PAGES:
                continue
            stretch = Stretch([run])
            for address in range(run.address, run.end, _CHUNK):
                data = stretch.read(pages, address, min(run.end, address + _CHUNK))
                if data.strip(b"\0"):
                    _write_all(descriptor, data, offset + address - item.segment.address)
        if item.path and self._sysroot is not None:
            source = open_below(self._sysroot, item.path)
            if source is not None:
                try:
                    self._copy(source, descriptor, item, offset)
                finally:
                    os.close(source)

    @staticmethod
    def _copy(source: int, descriptor: int, item: _Content, offset: int) -> None:
        done = 0
        while done < item.segment.length:
            data = os.pread(source, min(_CHUNK, item.segment.length - done), item.offset + done)
            if not data:
                return  # behind the end of a file its last page is zero
            _write_all(descriptor, data, offset + done)
            done += len(data)


def _segment(mapping: Mapping, held: list[Run]) -> Iterator[_Content]:
    if not held:
        return
    length = held[-1].end - held[0].address
    if any(run.where is Where.PAGES for run in held) or mapping.protection:
        yield _Content(Segment(held[0].address, length, mapping.protection, in_file=True), tuple(held))
    else:  # a guard: nobody could ever read it
        yield _Content(Segment(held[0].address, length, mapping.protection, in_file=False), why=Where.ABSENT)
