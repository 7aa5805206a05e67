"""Minimal folders of CRIU images, made on the spot: what tests of the readers need and no more. Needs pycriu."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pycriu.images import magic, pb

PAGE = 4096
PARENT, LAZY, PRESENT = 1, 2, 4  # criu/include/pagemap.h
STATUS = {
    "anonymous": 1 | 1 << 9,
    "heap": 1 | 1 << 5 | 1 << 9,
    "shared": 1 | 1 << 8,
    "memfd": 1 | 1 << 14,
    "sysv": 1 | 1 << 10,
    "file": 1 | 1 << 6,
    "vdso": 1 | 1 << 3 | 1 << 9,
    "vvar": 1 | 1 << 12,
}
"""criu/include/image.h, VMA_AREA_* and VMA_*."""


@dataclasses.dataclass(frozen=True)
class Vma:
    """A mapping; `id` is that of its file or of the shared memory."""

    start: int
    end: int
    kind: str = "anonymous"
    id: int = 0
    offset: int = 0
    protection: int = 3


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry of a pagemap: `data` where the pages are in the images, else `count` pages with these flags."""

    address: int
    data: bytes = b""
    count: int = 0
    flags: int = PRESENT


def write(path: Path, kind: str, messages: Iterable[Any]) -> None:
    """Write one image."""
    with path.open("wb") as file:
        file.write(struct.pack("<II", magic.by_name["IMG_COMMON"], magic.by_name[kind]))
        for message in messages:
            data = message.SerializeToString()
            file.write(struct.pack("<I", len(data)) + data)


def filled(message: Any) -> Any:
    """The message with nothing, zero or empty, for each required field that it has not."""
    while missing := message.FindInitializationErrors():
        for path in missing:
            *parents, name = path.split(".")
            place = message
            for parent in parents:
                place = getattr(place, parent)
            value = getattr(place, name)
            if hasattr(value, "SetInParent"):
                value.SetInParent()
            else:
                setattr(place, name, value)
    return message


class ImageBuilder:
    """One folder of images; `finish` makes it whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        self._processes: list[Any] = []
        self._files: list[Any] = []
        self._memfds: list[Any] = []
        self._pages = 0

    def process(
        self,
        pid: int,
        mappings: Sequence[Vma],
        entries: Sequence[Entry] = (),
        *,
        threads: Sequence[int] = (),
    ) -> None:
        """A process with this memory."""
        parent = 0 if pid == 1 else 1
        self._processes.append(pb.pstree_entry(pid=pid, ppid=parent, pgid=1, sid=1, threads=[pid, *threads]))
        layout = pb.mm_entry(
            mm_start_stack=(1 << 64) - 1,
            vmas=[
                pb.vma_entry(
                    start=vma.start,
                    end=vma.end,
                    pgoff=vma.offset,
                    shmid=vma.id,
                    prot=vma.protection,
                    flags=1 if vma.kind in ("shared", "memfd", "sysv") else 2,
                    status=STATUS[vma.kind],
                    fd=-1,
                )
                for vma in mappings
            ],
        )
        write(self.path / f"mm-{pid}.img", "MM", [filled(layout)])
        self.pagemap(f"pagemap-{pid}.img", entries)

    def core(self, tid: int, message: Any = None) -> None:
        """What inspect and core files need of a thread beside its memory; zeros but for what is given."""
        core = pb.core_entry(mtype=pb.core_entry.X86_64) if message is None else message
        for name in ("thread_info", "thread_core", "tc"):
            getattr(core, name).SetInParent()
        core.tc.task_state = 1
        core.thread_core.creds.SetInParent()
        core.ids.SetInParent()
        write(self.path / f"core-{tid}.img", "CORE", [filled(core)])
        write(self.path / f"fs-{tid}.img", "FS", [filled(pb.fs_entry())])

    def shared(self, id: int, entries: Sequence[Entry]) -> None:
        """Shared memory; the addresses are places in it."""
        self.pagemap(f"pagemap-shmem-{id}.img", entries)

    def pagemap(self, name: str, entries: Sequence[Entry]) -> None:
        """A pagemap with its pages."""
        self._pages += 1
        messages = [pb.pagemap_head(pages_id=self._pages)]
        with (self.path / f"pages-{self._pages}.img").open("wb") as pages:
            for entry in entries:
                count = len(entry.data) // PAGE or entry.count
                pages.write(entry.data)
                messages.append(
                    pb.pagemap_entry(
                        vaddr=entry.address,
                        compat_nr_pages=count & 0xFFFFFFFF,
                        nr_pages=count,
                        flags=entry.flags,
                    )
                )
        write(self.path / name, "PAGEMAP", messages)

    def file(self, id: int, name: str) -> None:
        """A regular file that is open or mapped."""
        own = pb.reg_file_entry(id=id, flags=0, pos=0, fown=_owner(), name=name)
        self._files.append(pb.file_entry(type=pb.REG, id=id, reg=own))

    def open_file(self, kind: str, field: str, own: Any) -> None:
        """An entry of files.img of any kind; what it needs and has not is zero."""
        entry = pb.file_entry(type=getattr(pb, kind), id=own.id, **{field: filled(own)})
        self._files.append(entry)

    def memfd(self, id: int, shmid: int, name: str) -> None:
        """A memfd that shows shared memory."""
        own = pb.memfd_file_entry(id=id, flags=0, pos=0, fown=_owner(), inode_id=id)
        self._files.append(pb.file_entry(type=pb.MEMFD, id=id, memfd=own))
        self._memfds.append(
            pb.memfd_inode_entry(name=name, uid=0, gid=0, size=0, shmid=shmid, inode_id=id, seals=0)
        )

    def parent(self, path: Path) -> None:
        """Where an earlier dump lies."""
        (self.path / "parent").symlink_to(path)

    def finish(self) -> Path:
        """Write what is about all processes; returns the folder."""
        write(self.path / "inventory.img", "INVENTORY", [pb.inventory_entry(img_version=2)])
        write(self.path / "pstree.img", "PSTREE", self._processes)
        write(self.path / "files.img", "FILES", self._files)
        write(self.path / "memfd.img", "MEMFD_INODE", self._memfds)
        return self.path


def _owner() -> Any:
    return pb.fown_entry(uid=0, euid=0, signum=0, pid_type=0, pid=0)
