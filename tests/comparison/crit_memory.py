"""The fields that `crit decode` prints of what a process may do and of its memory."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from tests.comparison.crit_decoded import CORE, core, each_process, first
from tests.comparison.crit_files import FILES
from tests.comparison.told import Facts, Field, Show, Told, dig, not_shown, number, per_process, plain_path

_MM = "crit decode mm-PID.img"
_SECCOMP = {"0": "disabled", "1": "strict", "2": "filter"}
_KINDS = (
    *((1 << 14, "memfd"), (1 << 6 | 1 << 7, "file"), (1 << 3, "vdso"), (1 << 5, "heap"), (1 << 8, "shared")),
)
"""Bits of a mapping's status (criu/include/image.h) and what guardian calls it."""
_IDS = (
    *(("uid", "uid"), ("gid", "gid"), ("euid", "effective_uid"), ("egid", "effective_gid")),
    *(("suid", "saved_uid"), ("sgid", "saved_gid"), ("fsuid", "filesystem_uid"), ("fsgid", "filesystem_gid")),
    ("secbits", "secure_bits"),
)
_SETS = {
    "inh": "inheritable",
    "prm": "permitted",
    "eff": "effective",
    "bnd": "bounding",
    "amb": "ambient",
}


def _own(name: str, key: str, theirs: Show, show: Show, default: Any = 0) -> Field:
    return core(name, f"credentials.{key}", theirs, lambda process: show(process["credentials"]), default)


def _set(short: str, key: str) -> Field:
    return _own(
        f"thread_core.creds.cap_{short}",
        f"capabilities.{key}",
        lambda words: sum(number(word).bit_count() for word in words),
        lambda credentials: len(credentials["capabilities"][key]),
        (),
    )


def _credentials() -> Iterator[Field]:
    own = "thread_core.creds"
    for name, key in _IDS:
        yield _own(f"{own}.{name}", key, number, operator.itemgetter(key))
    yield from (_set(short, key) for short, key in _SETS.items())
    yield _own(f"{own}.groups", "groups", list, operator.itemgetter("groups"), ())
    privileges = "no_new_privileges"
    yield _own(f"{own}.no_new_privs", privileges, bool, operator.itemgetter(privileges))
    yield _own(f"{own}.lsm_profile", "profile", str, operator.itemgetter("profile"), "")
    seccomp = operator.itemgetter("seccomp")
    yield _own("thread_core.seccomp_mode", "seccomp", lambda mode: _SECCOMP.get(str(mode), mode), seccomp)
    yield from not_shown(CORE, f"{own}.lsm_sockcreate", f"{own}.apparmor_data")


def _vma(name: str, place: str, theirs: Show, ours: Show) -> Field:
    return Field(
        _MM,
        f"vmas.{name}",
        f"processes[].memory[].{place}",
        lambda told: {
            pid: [theirs(dig(vma, name, 0)) for vma in entry["vmas"]]
            for pid, entry in first(told, "mm-{}.img").items()
        },
        per_process(lambda process: [ours(item) for item in process["memory"]]),
    )


def _kind(status: object) -> str:
    """The kind of a mapping that its status tells, empty where that is more than a bit."""
    return next((kind for bits, kind in _KINDS if number(status) & bits), "")


def _their_files(told: Told) -> dict[int, list[str]]:
    """The mapped files, by the id that their mappings have."""
    return {
        pid: [
            plain_path(told.file(number(vma["shmid"]))["name"])
            for vma in entry["vmas"]
            if _kind(vma["status"]) == "file"
        ]
        for pid, entry in first(told, "mm-{}.img").items()
    }


def _our_files(process: Facts) -> list[str]:
    return [item["name"] for item in process["memory"] if item["kind"] == "file"]


def _executables(told: Told) -> dict[int, str]:
    return {
        pid: plain_path(told.file(entry["exe_file_id"])["name"])
        for pid, entry in first(told, "mm-{}.img").items()
    }


def _layout_of(name: str) -> Field:
    def ours(process: Facts) -> object:
        return process["layout"][name]

    return each_process("mm-{}.img", f"mm_{name}", f"layout.{name}", number, ours)


def _bits_of(protection: str) -> int:
    return sum(1 << place for place, letter in enumerate("rwx") if letter in protection)


def _layout() -> Iterator[Field]:
    starts = ("start_code", "end_code", "start_data", "end_data", "start_stack", "start_brk", "brk")
    yield from (_layout_of(name) for name in (*starts, "arg_start", "arg_end", "env_start", "env_end"))
    executable = operator.itemgetter("executable")
    yield Field(_MM, "exe_file_id", "processes[].executable", _executables, per_process(executable))
    dumpable = operator.itemgetter("dumpable")
    yield each_process("mm-{}.img", "dumpable", "dumpable", lambda value: number(value) == 1, dumpable, 1)
    yield Field(_MM, "mm_saved_auxv", "guardianctl coredump", shown_by="test_coredump")
    yield _vma("start", "start", number, operator.itemgetter("start"))
    yield _vma("end", "end", number, operator.itemgetter("end"))
    yield _vma("pgoff", "offset", number, operator.itemgetter("offset"))
    yield _vma("prot", "protection", number, lambda item: _bits_of(item["protection"]))
    yield _vma(
        "flags", "protection", lambda value: number(value) & 1, lambda item: item["protection"][3] == "s"
    )
    kinds = [kind for _, kind in _KINDS]
    yield _vma("status", "kind", _kind, lambda item: item["kind"] if item["kind"] in kinds else "")
    yield Field(_MM, "vmas.shmid", "processes[].memory[].name", _their_files, per_process(_our_files))
    yield Field(
        FILES,
        "memfd.*",
        "processes[].memory[].kind, name",
        lambda told: {
            pid: [number(vma["start"]) for vma in entry["vmas"] if _kind(vma["status"]) == "memfd"]
            for pid, entry in first(told, "mm-{}.img").items()
        },
        per_process(lambda process: [item["start"] for item in process["memory"] if item["kind"] == "memfd"]),
        remark="anonymous shared memory too; an open one among `files`",
    )
    yield from not_shown(_MM, "aios.*", "thp_disabled", "vmas.fd", "vmas.madv", "vmas.fdflags")


FIELDS: tuple[Field, ...] = (*_credentials(), *_layout())
