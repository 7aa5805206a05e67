"""The fields that `crit decode` prints of open files."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator
from typing import Any

from tests.comparison.checkpointctl import kind_of
from tests.comparison.told import Facts, Field, Show, Told, dig, not_shown, number, per_process, plain_path

FILES = "crit decode files.img"
_FDINFO, _FS = "crit decode fdinfo-ID.img", "crit decode fs-PID.img"
_FLAGS = (
    *("O_CREAT", "O_EXCL", "O_NOCTTY", "O_TRUNC", "O_APPEND", "O_NONBLOCK", "O_DSYNC", "O_DIRECT"),
    *("O_DIRECTORY", "O_NOFOLLOW", "O_NOATIME", "O_PATH"),
)


def _tables(told: Told) -> dict[int, list[Facts]]:
    """The descriptors of each process, in order."""
    found = {}
    for process in told.processes():
        (ids,) = told.image(f"ids-{process['pid']}.img")
        table = told.image(f"fdinfo-{ids['files_id']}.img")
        found[process["pid"]] = sorted(table, key=lambda entry: int(entry["fd"]))
    return found


def _descriptor(name: str, place: str, theirs: Show, ours: Show) -> Field:
    return Field(
        _FDINFO,
        name,
        f"processes[].files[].{place}",
        lambda told: {pid: [theirs(entry[name]) for entry in table] for pid, table in _tables(told).items()},
        per_process(lambda process: [ours(file) for file in process["files"]]),
    )


def _folder(name: str, place: str) -> Field:
    return Field(
        _FS,
        name,
        f"processes[].{place}",
        lambda told: {
            process["pid"]: plain_path(told.file(told.image(f"fs-{process['pid']}.img")[0][name])["name"])
            for process in told.processes()
        },
        per_process(operator.itemgetter(place)),
    )


def _descriptors() -> Iterator[Field]:
    yield _descriptor("fd", "descriptor", number, operator.itemgetter("descriptor"))
    yield _descriptor("id", "key", number, operator.itemgetter("key"))
    yield _descriptor("type", "kind", str, kind_of)
    at_exec = "close_on_exec"
    yield _descriptor("flags", at_exec, lambda value: bool(number(value) & 1), operator.itemgetter(at_exec))
    yield from not_shown(_FDINFO, "xattr_security_selinux")
    yield _folder("cwd_id", "working_directory")
    yield _folder("root_id", "root")
    yield Field(
        _FS,
        "umask",
        "processes[].umask",
        lambda told: {
            process["pid"]: number(told.image(f"fs-{process['pid']}.img")[0]["umask"])
            for process in told.processes()
        },
        per_process(operator.itemgetter("umask")),
    )
    yield from not_shown(
        "crit decode ids-PID.img", "*", why="numbers of what processes may share in the kernel"
    )


def by_key(told: Told) -> dict[int, Facts]:
    """Our open files, by their number in files.img."""
    return {file["key"]: file for process in told.processes() for file in process["files"]}


def entries(told: Told, which: str) -> dict[int, Facts]:
    """The parts of files.img of one kind, by id."""
    return {entry["id"]: entry[which] for entry in told.image("files.img") if which in entry}


def of_open(which: str, name: str, place: str, theirs: Show, ours: Show, default: Any = 0) -> Field:
    """A field of an open file; those that only mappings and folders name are not among ours."""
    return Field(
        FILES,
        f"{which}.{name}",
        f"processes[].files[].{place}",
        lambda told: {
            key: theirs(dig(entry, name, default))
            for key, entry in entries(told, which).items()
            if key in by_key(told)
        },
        lambda told: {key: ours(file) for key, file in by_key(told).items() if key in entries(told, which)},
    )


def open_flags(value: object) -> set[str]:
    """The names of flags of open(2)."""
    bits = number(value)
    access = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_RDONLY")[bits & os.O_ACCMODE]
    return {access, *(name for name in _FLAGS if bits & getattr(os, name))}


def our_flags(file: Facts) -> set[str]:
    """Those of an open file of ours."""
    return set(file["flags"]) - {"O_ASYNC"}


def _unknown(told: Told) -> set[int]:
    """Our open files that are not in files.img."""
    return by_key(told).keys() - {entry["id"] for entry in told.image("files.img")}


def _regular() -> Iterator[Field]:
    yield Field(FILES, "id", "processes[].files[].key", _unknown, lambda _: set(), may_be_empty=True)
    yield from not_shown(FILES, "type", why="as in fdinfo-ID.img")
    yield of_open("reg", "id", "key", number, operator.itemgetter("key"))
    yield of_open("reg", "name", "what", plain_path, operator.itemgetter("what"), "")
    yield of_open("reg", "flags", "flags", open_flags, our_flags)
    yield of_open("reg", "pos", "position", number, operator.itemgetter("position"))
    yield of_open("reg", "size", "size", number, operator.itemgetter("size"))
    yield of_open("reg", "mode", "mode", number, operator.itemgetter("mode"), -1)
    yield of_open("reg", "mnt_id", "mount", number, operator.itemgetter("mount"), -1)
    yield from not_shown(FILES, *(f"reg.{name}" for name in ("fown.*", "ext", "build_id", "checksum*")))
    yield of_open("pipe", "id", "key", number, operator.itemgetter("key"))
    yield of_open("pipe", "pipe_id", "what", lambda value: f"pipe {value}", operator.itemgetter("what"))
    yield of_open("pipe", "flags", "flags", open_flags, our_flags)
    yield from not_shown(FILES, "pipe.fown.*")


FIELDS: tuple[Field, ...] = (*_descriptors(), *_regular())
