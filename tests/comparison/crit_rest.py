"""The fields that `crit decode` prints of locks, deleted files, mounts, pages and the whole dump."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.comparison.crit_files import by_key
from tests.comparison.told import (
    Facts,
    Field,
    Show,
    Told,
    covered,
    not_shown,
    number,
    plain_path,
)

_LOCKS = {1: "posix", 2: "flock", 1024: "ofd", 32: "lease"}
_MODES = ("read", "write", "unlocked")
_MOUNTS, _REMAPS = "crit decode mountpoints-ID.img", "crit decode remap-fpath.img"
_PAGEMAP = "crit decode pagemap-PID.img"
_MOUNT_FLAGS = {
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "noatime": 1 << 10,
    "nodiratime": 1 << 11,
    "relatime": 1 << 21,
}
_SYSTEMS = (
    *("disk", "proc", "sysfs", "devtmpfs", "binfmt_misc", "tmpfs", "devpts", "simfs", "pstore", "securityfs"),
    *("fusectl", "debugfs", "cgroup", "aufs", "mqueue", "fuse", "auto", "overlayfs", "autofs", "tracefs"),
)
"""CRIU's numbers for file systems (images/mnt.proto); one on a disk has none of its own."""
_LATER_SYSTEMS = {23: "cgroup2"}


def _lock(name: str, key: str, theirs: Show = number) -> Field:
    return Field(
        "crit decode filelocks.img",
        name,
        f"locks[].{key}",
        lambda told: [theirs(entry[name]) for entry in told.image("filelocks.img")],
        lambda told: [lock[key] for lock in told.ours["locks"]],
    )


def _locks() -> Iterator[Field]:
    yield _lock("flag", "kind", lambda value: _LOCKS[number(value)])
    yield _lock("type", "mode", lambda value: _MODES[number(value)])
    for name, key in (("pid", "process"), ("fd", "descriptor"), ("start", "start"), ("len", "length")):
        yield _lock(name, key)
    yield Field(
        _REMAPS,
        "orig_id",
        "processes[].files[].deleted",
        lambda told: {entry["orig_id"] for entry in told.image("remap-fpath.img")} & by_key(told).keys(),
        lambda told: {key for key, file in by_key(told).items() if file["deleted"]},
    )
    yield from not_shown(_REMAPS, "remap_id", "remap_type")


def _told_mounts(told: Told) -> Mapping[int, Facts]:
    return {
        entry["mnt_id"]: entry
        for image, found in told.images.items()
        if image.startswith("mountpoints-")
        for entry in found
    }


def _mount(name: str, key: str, theirs: Show, ours: Show = lambda value: value, default: Any = "") -> Field:
    return Field(
        _MOUNTS,
        name,
        f"mounts[].{key}",
        lambda told: {id: theirs(entry.get(name, default)) for id, entry in _told_mounts(told).items()},
        lambda told: {mount["id"]: ours(mount[key]) for mount in told.ours["mounts"]},
    )


def _systems(told: Told) -> dict[int, str]:
    """The kinds of file systems."""
    found = {}
    for id, entry in _told_mounts(told).items():
        kind = number(entry["fstype"])
        found[id] = entry.get("fsname") or _LATER_SYSTEMS.get(kind) or _SYSTEMS[kind]
    return found


def _mounts() -> Iterator[Field]:
    yield _mount("mnt_id", "id", number)
    yield _mount("parent_mnt_id", "parent", number)
    yield _mount("mountpoint", "target", plain_path)
    for name in ("root", "source", "options"):
        yield _mount(name, name, str)
    yield _mount("ext_mount", "external", bool)
    yield _mount(
        "flags",
        "flags",
        lambda value: {flag for flag, bit in _MOUNT_FLAGS.items() if number(value) & bit},
        lambda flags: set(flags) & _MOUNT_FLAGS.keys(),
        0,
    )
    for name in ("fstype", "fsname"):
        yield Field(
            _MOUNTS,
            name,
            "mounts[].type",
            _systems,
            lambda told: {mount["id"]: mount["type"] for mount in told.ours["mounts"]},
        )
    others = ("root_dev", "shared_id", "master_id", "with_plugin", "internal_sharing", "deleted", "sb_flags")
    yield from not_shown(_MOUNTS, *others, "ext_key")


def _their_pages(told: Told) -> dict[int, list[tuple[int, int]]]:
    return {
        process["pid"]: covered(
            [
                (number(entry["vaddr"]), (entry.get("nr_pages") or entry["compat_nr_pages"]) << 12)
                for entry in told.image(f"pagemap-{process['pid']}.img")[1:]
            ]
        )
        for process in told.processes()
    }


def our_pages(told: Told) -> dict[int, list[tuple[int, int]]]:
    """The stretches of each process's own memory that are in the images."""
    found: dict[int, list[tuple[int, int]]] = {process["pid"]: [] for process in told.processes()}
    for item in told.mappings:
        if item["kind"] not in ("shared", "memfd", "sysv"):
            found[item["pid"]] += [(begin, length) for begin, length in item["pages"]]
    return {pid: covered(pages) for pid, pages in found.items()}


def _pages() -> Iterator[Field]:
    place = "guardianctl memory map --json: pages"
    for name in ("vaddr", "nr_pages", "compat_nr_pages"):
        yield Field(_PAGEMAP, name, place, _their_pages, our_pages, reads_pages=True)
    for name in ("pages_id", "in_parent", "flags"):
        yield from not_shown(_PAGEMAP, name, why="which file or parent a page lies in is looked through")


def _host(name: str, key: str) -> Field:
    return Field(
        "crit decode utsns-ID.img",
        name,
        key,
        lambda told: next(
            found[0][name] for image, found in told.images.items() if image.startswith("utsns-")
        ),
        lambda told: told.ours[key],
    )


def _dump() -> Iterator[Field]:
    yield _host("nodename", "hostname")
    yield _host("domainname", "domainname")
    yield Field(
        "crit decode stats-dump",
        "dump.*",
        "statistics",
        lambda told: {
            name: number(value) for name, value in told.image("stats-dump")[0]["dump"].items() if value
        },
        lambda told: {name: value for name, value in told.ours["statistics"].items() if value},
    )
    inventory = "crit decode inventory.img"
    yield Field(
        inventory,
        "img_version",
        "criu",
        lambda told: f"images version {told.image('inventory.img')[0]['img_version']}",
        lambda told: told.ours["criu"],
    )
    yield from not_shown(inventory, "*")


FIELDS: tuple[Field, ...] = (*_locks(), *_mounts(), *_pages(), *_dump())
