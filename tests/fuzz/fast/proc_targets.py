"""Targets of the second floor: what the kernel says in /proc, and what comes through pipes.

Names that processes give themselves and their files are in it.
"""

from __future__ import annotations

import functools
import os

from guardian.host import held_files, layer, mountinfo, proc, space, traits
from guardian.host.frames import Input
from tests.fuzz.fast.plain_targets import STATUS
from tests.fuzz.fast.target import DEEP, Target, refusing, scratch, text
from tests.unit.samples import container

_STAT = (
    ") S 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 {} 1 2 3 {} 5 {} 7 8 9 10 11 12 0 0 0 17 0 0 0 0 0 0 1 2 {} "
    "4 5 6 7 8"
)


def _proc_stat(data: bytes) -> str:
    """The kernel writes the rest; a process gives itself its name."""
    name = data.decode(errors="replace")
    found = proc.parsed(f"77 ({name}" + _STAT.format(123, 456, 789, 1011) + "\n")
    assert (found.name, found.state, found.parent) == (name, "S", 1)
    assert (found.started, found.start_code, found.start_stack, found.start_brk) == (123, 456, 789, 1011)
    return f"{')' in name}"


def _proc_maps(data: bytes) -> str:
    given = text(data)
    found, first = traits.mapped(given)
    matched = [match for line in given.split("\n") if (match := held_files._MAPPING.fullmatch(line))]
    for line in given.split("\n"):
        if held_files._MAPPING.fullmatch(line):
            held_files._range(line)
    traits.watched(given)
    return f"{len(found) > 0} {first[:4]} {len(matched) > 0}"


def _forged_name(data: bytes) -> str:
    """A file's name, as the kernel writes it into maps and mountinfo, never becomes a line or a field of its own."""
    name = (
        data.replace(b"\\", b"\\134")
        .replace(b"\n", b"\\012")
        .replace(b" ", b"\\040")
        .replace(b"\t", b"\\011")
    )
    shown = text(b"/" + name)
    found, _ = traits.mapped(f"7f00-7f01 rw-s 00000000 00:01 7 {' ' * 20}{shown}\n")
    assert len(found) == (0 if shown.endswith(".so") else 1), found
    line = f"2 1 8:1 /x {shown} rw shared:3 - ext4 {shown} rw\n3 1 8:1 / /end rw - tmpfs none rw\n"
    mounts = list(mountinfo.parse(line))
    assert [(mount.kind, mount.ties) for mount in mounts] == [("ext4", ("shared:3",)), ("tmpfs", ())], mounts
    assert mounts[1].place == "/end"
    return ""


def _mountinfo(data: bytes) -> str:
    found = list(mountinfo.parse(text(data)))
    fuse, ties = traits.mounts_of(found)
    for place in fuse:
        place.encode()
    layers = [layer.parse(mount.options, "") for mount in found]
    kinds = {"/": "overlay"} | {mount.place: mount.kind for mount in found}
    held_files._Places(container(), kinds).of("/a/b/c")
    return f"{len(found) > 0} {len(fuse) > 0} {len(ties) > 0} {any(layers)}"


def _overlay(data: bytes) -> str:
    options, _, known = text(data).partition("\n")
    found = layer.parse(options, known)
    assert found is None or found.upper.is_absolute()
    return f"{found is not None} {found is not None and len(found.lower) > 1}"


def _memory(data: bytes) -> str:
    with refusing(ValueError, IndexError):
        found = space.memory_in(text(data), text(data))
    return f"{found > 0}"


def _sockets(data: bytes) -> str:
    return f"{len(traits.foreign(text(data), {'10', '12'}, {'10', '11', '12'}))}"


@functools.cache
def _anonymous() -> int:
    return os.memfd_create("input")


def _filled(data: bytes) -> int:
    descriptor = _anonymous()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _build_id(data: bytes) -> str:
    found = held_files._build_id(_filled(data))
    assert len(found) <= 2 * len(data)
    return f"{bool(found)}"


@functools.cache
def _input() -> Input:
    return Input(_anonymous())


def _frames(data: bytes) -> str:
    _filled(data)
    count = 0
    with refusing():
        while os.lseek(_anonymous(), 0, os.SEEK_CUR) < len(data):
            _input().message(limit=1.0)
            count += 1
            if count % 2:
                _input().stream(limit=1.0).drain()
            else:
                target = scratch() / "streamed"
                target.unlink(missing_ok=True)
                _input().to_file(target, limit=1.0)
    return f"{min(count, 4)}"


_MAPS = (
    b"00400000-00452000 r-xp 00000000 08:02 173521                             /usr/bin/dbus-daemon\n"
    b"7f00-7f01 rw-s 00000000 00:0e 1034                                     anon_inode:[io_uring]\n"
    b"7fff-8000 r-xp 00000000 00:00 0                                        [vdso]\n"
    b"7f02-7f03 r--p 00000000 08:02 99                                       /lib/x y.so (deleted)\n"
    b"inotify wd:1 ino:9e7e sdev:80000a mask:800afce ignored_mask:0\n"
)
_MOUNTS = (
    b"1 0 0:40 / / rw,relatime - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/var/x/diff,workdir=/var/x/work\n"
    b"2 1 8:1 /x /with\\040space rw shared:3 master:1 - ext4 /dev/sda1 rw\n"
    b"4 1 0:50 / /remote rw - fuse.sshfs host: rw\n"
)
_ELF = (
    b"\x7fELF\x02\x01\x01"
    + bytes(9)
    + b"\x03\0\x3e\0\x01\0\0\0"
    + bytes(8)
    + (64).to_bytes(8, "little")
    + bytes(12)
    + b"\x40\0\x38\0\x01\0\0\0\0\0\0\0"
    + b"\x04\0\0\0\x04\0\0\0"
    + (120).to_bytes(8, "little")
    + bytes(16)
    + (36).to_bytes(8, "little") * 2
    + (4).to_bytes(8, "little")
    + b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"
    + b"\xab" * 20
)


def _frame(kind: bytes, data: bytes) -> bytes:
    return kind + len(data).to_bytes(4, "big") + data


TARGETS = (
    Target("proc-stat", _proc_stat, (b"redis-server", b"a) R 2 (b"), (b") ", b"(", b"\n"), longest=64),
    Target(
        "proc-maps",
        _proc_maps,
        (_MAPS,),
        (b" r-xp ", b" (deleted)", b"\xc2\x85", b"\x0c", b"sdev:", b"\\012"),
    ),
    Target(
        "forged-names",
        _forged_name,
        (b"data/a b", b"x\x0c7f00-7f01 rwxp 0 0:1 7 /y"),
        (b"\xe2\x80\xa8", b" - ", b"\r", b"\x1c"),
    ),
    Target(
        "mountinfo",
        _mountinfo,
        (_MOUNTS,),
        (b" - overlay overlay ", b"upperdir=/", b"lowerdir=", b"\\040", b"\xe2\x80\xa8"),
    ),
    Target(
        "overlay-options",
        _overlay,
        (b"rw,lowerdir=/l/A:/l/B,upperdir=/v/x/diff\n", b"lowerdir+=/a\\:b\n/known"),
        (b"upperdir=/", b"\\,", b":"),
    ),
    Target("proc-memory", _memory, (STATUS,), (b"RssAnon:\t", b"VmSwap:", b"Pss_Shmem:")),
    Target(
        "ss-unix",
        _sockets,
        (b"u_str ESTAB 0 0 * 12 * 90\nu_str ESTAB 0 0 /run/db.sock 90 * 12\n",),
        (b"u_seq ", b" * 10 * 11\n"),
    ),
    Target("build-id", _build_id, (_ELF,), (b"GNU\0", b"\xff" * 8, b"\xff" * 7 + b"\x7f")),
    Target(
        "move-frames",
        _frames,
        (
            _frame(b"J", b'{"a":1}')
            + _frame(b"D", b"xyz")
            + _frame(b"E", b"")
            + _frame(b"J", b"{}")
            + _frame(b"D", b"q" * 99)
            + _frame(b"A", b""),
            _frame(b"J", DEEP),
        ),
        (b"J\0\0\0\2{}", b"D\0\0\0\1x", b"E\0\0\0\0", b"A\0\0\0\0", b"D\0\x40\0\0", b"J\4\0\0\0"),
    ),
)
