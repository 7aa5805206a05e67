"""A thread's registers in CRIU's images, as a core file has them."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pycriu.images import pb

from guardian.host.images import elf
from guardian.host.images.folder import BadImage, Folder, Message

_NAMES = (
    *("r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di"),
    *("orig_ax", "ip", "cs", "flags", "sp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
)
_X86_64 = 1  # core_entry.march
_COMPAT = 2  # user_x86_regs_mode
_WORDS = {"ymmh_space": "I", "pkru": "I"}


def core(folder: Folder, tid: int) -> Message:
    """The image of a thread; raises BadImage where it is not of x86-64 or runs 32-bit code."""
    found = folder.one(f"core-{tid}.img", "CORE", pb.core_entry)
    kind = int(found.mtype)
    if kind != _X86_64:
        known = pb.core_entry.march.values()
        name = pb.core_entry.march.Name(kind) if kind in known else str(kind)
        raise BadImage(
            f"core-{tid}.img is of another architecture", f"{name}; core files are made of X86_64 only"
        )
    if not found.HasField("thread_info"):
        raise BadImage(f"core-{tid}.img has no registers")
    if int(found.thread_info.gpregs.mode) == _COMPAT:
        raise BadImage(f"thread {tid} runs 32-bit code", "core files are made of 64-bit processes only")
    return found


def general(found: Message) -> list[int]:
    """In the order of struct user_regs_struct."""
    return [int(getattr(found.thread_info.gpregs, name)) & (1 << 64) - 1 for name in _NAMES]


def floating(found: Message) -> bytes:
    """What FXSAVE writes."""
    own = found.thread_info.fpregs
    head = struct.pack(
        "<HHHHQQII",
        *(int(getattr(own, name)) & 0xFFFF for name in ("cwd", "swd", "twd", "fop")),
        *(int(own.rip), int(own.rdp), int(own.mxcsr), int(own.mxcsr_mask)),
    )
    data = head + _packed(own.st_space, "I", 128) + _packed(own.xmm_space, "I", 256)
    return data.ljust(elf.LEGACY, b"\0")


def extended(found: Message) -> bytes | None:
    """What XSAVE writes, None where CRIU did not keep it."""
    own = found.thread_info.fpregs
    if not own.HasField("xsave"):
        return None
    components = {
        name: _packed(getattr(own.xsave, name), _WORDS.get(name, "Q"), length)
        for name, (_, _, length) in elf.COMPONENTS.items()
        if len(getattr(own.xsave, name))
    }
    return elf.extended_state(floating(found), int(own.xsave.xstate_bv), components)


def _packed(values: Iterable[int], word: str, length: int) -> bytes:
    """Words as bytes, filled up; raises BadImage where there are too many."""
    items = list(values)
    data = struct.pack(f"<{len(items)}{word}", *items)
    if len(data) > length:
        raise BadImage("a register does not parse", f"it has {len(data)} bytes, not {length}")
    return data.ljust(length, b"\0")
