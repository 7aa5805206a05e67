"""The layout of an ELF core file for x86-64: headers, notes and registers, as Linux writes them.

Source of every number: Linux include/uapi/linux/elf.h, elfcore.h and fs/binfmt_elf.c; for the extended state the
processor's XSAVE area in its standard format (Intel SDM volume 1, 13.4), whose offsets debuggers know.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Sequence

PAGE = 4096
PT_LOAD, PT_NOTE = 1, 4
NT_PRSTATUS, NT_FPREGSET, NT_PRPSINFO, NT_AUXV = 1, 2, 3, 6
NT_FILE, NT_X86_XSTATE = 0x46494C45, 0x202
_ET_CORE, _EM_X86_64 = 4, 62
_PN_XNUM = 0xFFFF
_HEADER, _PROGRAM_HEADER, _SECTION_HEADER = (
    struct.Struct(each) for each in ("<16sHHIQQQIHHHHHH", "<IIQQQQQQ", "<IIQQQQIIQQ")
)

COMPONENTS = {
    "ymmh_space": (2, 576, 256),
    "bndreg_state": (3, 960, 64),
    "bndcsr_state": (4, 1024, 64),
    "opmask_reg": (5, 1088, 64),
    "zmm_upper": (6, 1152, 512),
    "hi16_zmm": (7, 1664, 1024),
    "pkru": (9, 2688, 8),
}
"""Parts of the extended state by CRIU's names: number, offset and length in bytes."""
LEGACY = 512
"""Bytes of the area that FXSAVE writes."""
_STATE_HEADER = 64
_ENABLED_AT = 464
"""Where Linux puts XCR0 in a core file, in bytes that the processor leaves to software."""


@dataclasses.dataclass(frozen=True)
class Segment:
    """Memory from an address on, and how much of it is in the file: all or nothing."""

    address: int
    length: int
    protection: int
    in_file: bool


def headers(segments: Sequence[Segment], notes: int) -> tuple[bytes, list[int]]:
    """Everything before the notes, of which there are so many bytes; and the offset of each segment's content."""
    count = len(segments) + 1
    many = count >= _PN_XNUM
    sections = _HEADER.size + count * _PROGRAM_HEADER.size
    begin = sections + (_SECTION_HEADER.size if many else 0)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    found = [
        _HEADER.pack(
            *(identity, _ET_CORE, _EM_X86_64, 1, 0, _HEADER.size, sections if many else 0, 0),
            *(_HEADER.size, _PROGRAM_HEADER.size, _PN_XNUM if many else count),
            *(_SECTION_HEADER.size if many else 0, int(many), 0),
        ),
        _PROGRAM_HEADER.pack(PT_NOTE, 0, begin, 0, 0, notes, 0, 4),
    ]
    offset = (begin + notes + PAGE - 1) // PAGE * PAGE
    offsets = []
    for segment in segments:
        held = segment.length if segment.in_file else 0
        flags = sum(flag for bit, flag in ((1, 4), (2, 2), (4, 1)) if segment.protection & bit)
        found.append(
            _PROGRAM_HEADER.pack(PT_LOAD, flags, offset, segment.address, 0, held, segment.length, PAGE)
        )
        offsets.append(offset)
        offset += held
    if many:  # their number does not fit: it is told by a section that is none
        found.append(_SECTION_HEADER.pack(0, 0, 0, 0, 0, 1, 0, count, 0, 0))
    return b"".join(found), offsets


def note(kind: int, data: bytes) -> bytes:
    """One note."""
    name = b"LINUX\0" if kind == NT_X86_XSTATE else b"CORE\0"
    head = struct.pack("<III", len(name), len(data), kind)
    return head + name.ljust(8, b"\0") + data + bytes(-len(data) % 4)


def status(
    *, pid: int, parent: int, group: int, session: int, pending: int, held: int, registers: Iterable[int]
) -> bytes:
    """struct elf_prstatus: no signal, no times. `registers` in the order of struct user_regs_struct."""
    ids = (pid, parent, group, session)
    head = struct.pack("<iiihxxQQ4i64x", 0, 0, 0, 0, pending, held, *ids)
    return head + struct.pack("<27Qi4x", *registers, 1)


def process_information(
    *, stopped: bool, nice: int, flags: int, ids: Sequence[int], name: bytes, arguments: bytes
) -> bytes:
    """struct elf_prpsinfo. `ids` are user, group, process, parent, process group, session."""
    state, letter = (3, b"T") if stopped else (0, b"R")
    return struct.pack("<bcbb4xQIIiiii16s80s", state, letter, 0, nice, flags, *ids, name[:15], arguments[:79])


def mapped_files(found: Iterable[tuple[int, int, int, bytes]]) -> bytes:
    """The note of files in memory: begin, end, offset in bytes, path."""
    items = list(found)
    rows = b"".join(struct.pack("<QQQ", begin, end, offset // PAGE) for begin, end, offset, _ in items)
    names = b"".join(name.replace(b"\0", b"") + b"\0" for *_, name in items)
    return struct.pack("<QQ", len(items), PAGE) + rows + names


def extended_state(legacy: bytes, valid: int, components: dict[str, bytes]) -> bytes:
    """The area that XSAVE writes, with the components that the processor has; `valid` is XSTATE_BV."""
    enabled = 3 | sum(1 << COMPONENTS[name][0] for name in components)
    size = max((sum(COMPONENTS[name][1:]) for name in components), default=LEGACY + _STATE_HEADER)
    area = bytearray(size)
    area[:LEGACY] = legacy
    struct.pack_into("<Q", area, _ENABLED_AT, enabled)
    struct.pack_into("<Q", area, LEGACY, valid & enabled)
    for name, data in components.items():
        _, offset, length = COMPONENTS[name]
        area[offset : offset + length] = data.ljust(length, b"\0")[:length]
    return bytes(area)
