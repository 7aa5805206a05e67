"""The disk of a container host: an ext4 image of its own, so that a power cut loses what was not written.

All of the root but /usr is in the image, a copy for each host. /usr is an overlay: below it the cached one, which
all hosts share (and have in memory once), above it a folder of the image. Both are mounted only in the mount
namespace that nspawn runs in, and go away with it, the loop device too.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path

from . import cache
from .commands import run, wait_until

SIZE = "8G"
IMAGE = "host.img"
EXT4_IOC_SHUTDOWN = 0x8004587D
EXT4_GOING_FLAGS_NOLOGFLUSH = 2
DETACH_TIMEOUT = 30.0


def make(root: Path, target: Path) -> None:
    """Turn a finished root into what `clone` takes; uses up the root."""
    target.mkdir(exist_ok=True)
    (root / "usr").rename(target / "usr")
    for path in ("usr", ".usr/upper", ".usr/work"):
        (root / path).mkdir(parents=True)
    make_whole(root, target / IMAGE)


def make_whole(root: Path, image: Path) -> None:
    """Make an ext4 image of a whole root."""
    cache.require_commands({"mke2fs": "e2fsprogs"})
    options = "root_owner=0:0,lazy_itable_init=1"
    run(["mke2fs", "-q", "-t", "ext4", "-d", str(root), "-E", options, str(image), SIZE], timeout=300)


def clone(base: Path, folder: Path) -> None:
    """Copy the image into a machine's folder."""
    (folder / "root").mkdir()
    copy(base / IMAGE, folder / IMAGE)


def copy(source: Path, target: Path) -> None:
    """Copy an image without its holes."""
    run(["cp", "--sparse=auto", "--reflink=auto", str(source), str(target)], timeout=300)


def mount_command(base: Path, folder: Path, image: Path | None = None) -> str:
    """The shell command that mounts a clone on `folder/root`; its image, where `image` is no other one."""
    root = folder / "root"
    overlay = f"lowerdir={base}/usr,upperdir={root}/.usr/upper,workdir={root}/.usr/work"
    return " && ".join(
        shlex.join(argv)
        for argv in (
            mount_argv(image or folder / IMAGE, root),
            ["mount", "-t", "overlay", "-o", overlay, "overlay", str(root / "usr")],
        )
    )


def mount_argv(image: Path, target: Path) -> list[str]:
    """The command that mounts an image."""
    return ["mount", "-t", "ext4", "-o", "loop", str(image), str(target)]


def cut_power(root: Path) -> None:
    """Let an ext4 lose at once what it has not written: neither data nor journal reaches the disk any more."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))
    finally:
        os.close(descriptor)


def wait_until_detached(folder: Path) -> None:
    """Wait until no file in a folder is behind a loop device. Raises `TimedOut`."""
    wait_until(lambda: not any(_loops(folder)), timeout=DETACH_TIMEOUT, what=f"{folder} off its loop device")


def _loops(folder: Path) -> Iterator[str]:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = Path(path.read_text().strip().removesuffix(" (deleted)"))
        except OSError:
            continue  # detached while we looked
        if folder in backing.parents:
            yield path.parent.parent.name
