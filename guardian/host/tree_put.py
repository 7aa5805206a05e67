"""Puts an archive of hostile origin into a folder: nothing is written outside it, no link is followed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from guardian.host import tree
from guardian.host.tar_reader import BadArchive, Member, Readable, inside, members
from guardian.model import json_text

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_XATTRS = ("user.", "trusted.", "security.capability", "system.posix_acl_")
_NOT_XATTRS = ("user.overlay.", "trusted.overlay.")
_MOST_DELETED = 1_000_000
_MOST_ID = (1 << 32) - 2
"""The next one says to chown(2) that nothing is to change."""
_MOST_MAJOR, _MOST_MINOR = (1 << 12) - 1, (1 << 20) - 1
_NODES = {tarfile.FIFOTYPE: stat.S_IFIFO, tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK}
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.GNUTYPE_SPARSE, tarfile.DIRTYPE, tarfile.SYMTYPE)


def check(stream: Readable) -> int:
    """Read a whole archive as `put` would, writing nothing; returns the bytes of its files. Raises BadArchive."""
    size = 0
    for member in members(stream):
        _checked(member)
        size += member.info.size if member.info.isreg() else 0
    return size


def _checked(member: Member) -> Member:
    info = member.info
    if info.type == tarfile.LNKTYPE:
        inside(info.linkname)
    elif info.type not in _PLAIN and info.type not in _NODES:
        raise BadArchive(f"{member.path!r:.100} is of an unknown kind")
    if info.type == tarfile.CHRTYPE and (info.devmajor, info.devminor) == (0, 0):
        raise BadArchive(f"{member.path!r:.100} is a whiteout", "deleted files are listed apart")
    if info.type == tarfile.SYMTYPE and not 0 < len(info.linkname) < 4096:
        raise BadArchive(f"{member.path!r:.100} leads nowhere")
    if "\0" in info.linkname:
        raise BadArchive(f"{member.path!r:.100} leads nowhere")
    for name in tree.xattrs_of(info):
        if name.startswith(_NOT_XATTRS):
            raise BadArchive(f"{member.path!r:.100} has an attribute of overlayfs")
        if "\0" in name:
            raise BadArchive(f"{member.path!r:.100} has an attribute without a name")
    if not (0 <= info.uid <= _MOST_ID and 0 <= info.gid <= _MOST_ID):
        raise BadArchive(f"{member.path!r:.100} has no possible owner")
    if info.isdev() and not (0 <= info.devmajor <= _MOST_MAJOR and 0 <= info.devminor <= _MOST_MINOR):
        raise BadArchive(f"{member.path!r:.100} is no possible device")
    return member


def put(stream: Readable, root: Path) -> None:
    """Put an archive's files into a folder; raises BadArchive or OSError with part of them there."""
    with _opened(root) as top:
        _put(stream, top, replace=False)


def update(stream: Readable, root: Path, removed: Iterable[str]) -> None:
    """Bring a folder that `put` has filled up to date: remove paths with all below them, then put an archive's files.

    A member takes the place of a file, and a folder stays where a folder is to be; a file never takes that of a folder.
    Nobody may use the folder meanwhile. Raises BadArchive or OSError with part of it done.
    """
    paths = [inside(path) for path in removed]
    if not all(paths):
        raise BadArchive("the folder itself is to be removed")
    with _opened(root) as top:
        for path in paths:
            with _above(top, path) as (folder, name):
                _remove(folder, name)
        _put(stream, top, replace=True)


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[int]:
    top = os.open(root, _FOLDER)
    try:
        yield top
    finally:
        os.close(top)


def _put(stream: Readable, top: int, *, replace: bool) -> None:
    folders: list[tuple[str, int]] = []
    for member in members(stream):
        _checked(member)
        if not member.path:
            continue
        with _above(top, member.path) as (folder, name):
            _make(member, top, folder, name, replace=replace)
        if member.info.isdir():
            folders.append((member.path, _modified(member.info)))
    # Last, and the innermost first: what is put into a folder changes its time.
    for path, modified in reversed(folders):
        with _above(top, path) as (folder, name):
            os.utime(name, ns=(modified, modified), dir_fd=folder, follow_symlinks=False)


@contextlib.contextmanager
def _above(top: int, path: str) -> Iterator[tuple[int, str]]:
    """The folder that a path lies in, opened step by step, and its last part; raises BadArchive."""
    *parts, name = path.split("/")
    folder = os.dup(top)
    try:
        for part in parts:
            try:
                inner = os.open(part, _FOLDER, dir_fd=folder)
            except OSError as error:
                raise BadArchive(f"{path!r:.100} lies in no folder", error.strerror or "") from error
            os.close(folder)
            folder = inner
        yield folder, name
    finally:
        os.close(folder)


def _remove(folder: int, name: str) -> None:
    """Remove a file, or a folder with all in it; nothing where it is not there."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _make(member: Member, top: int, folder: int, name: str, *, replace: bool) -> None:
    info = member.info
    there = None
    with contextlib.suppress(FileNotFoundError):
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if there is not None and not (info.isdir() and stat.S_ISDIR(there.st_mode)):
        if not replace or stat.S_ISDIR(there.st_mode):
            raise BadArchive(f"{member.path!r:.100} is there already")
        os.unlink(name, dir_fd=folder)
        there = None
    if info.islnk():
        with _above(top, inside(info.linkname)) as (other, first):
            seen = os.stat(first, dir_fd=other, follow_symlinks=False)
            if stat.S_ISDIR(seen.st_mode):
                raise BadArchive(f"{member.path!r:.100} is a link to a folder")
            os.link(first, name, src_dir_fd=other, dst_dir_fd=folder, follow_symlinks=False)
        return
    if info.isdir():
        if there is None:
            os.mkdir(name, 0o700, dir_fd=folder)
    elif info.issym():
        os.symlink(info.linkname, name, dir_fd=folder)
    elif info.isreg():
        _write(member, folder, name)
    else:
        device = os.makedev(info.devmajor, info.devminor) if not info.isfifo() else 0
        os.mknod(name, _NODES[info.type] | 0o600, device, dir_fd=folder)
    _describe(info, folder, name)


def _write(member: Member, folder: int, name: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb", buffering=0) as file:
        for data in member.chunks():
            if data.count(0) == len(data):
                file.seek(len(data), os.SEEK_CUR)  # a hole, as it most likely was
                continue
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
        file.truncate(member.info.size)


def _describe(info: tarfile.TarInfo, folder: int, name: str) -> None:
    """Owner, mode, attributes and time, in this order: a change of owner takes away what the others give."""
    os.chown(name, info.uid, info.gid, dir_fd=folder, follow_symlinks=False)
    place, wanted = f"/proc/self/fd/{folder}/{name}", tree.xattrs_of(info)
    if not info.issym():
        # A folder that was there has some, and a new file its folder's default access list; before the mode, as
        # without a list the group's bits are the list's mask.
        for key in _names(place):
            if key not in wanted:
                os.removexattr(place, key, follow_symlinks=False)
        os.chmod(name, info.mode & 0o7777, dir_fd=folder)
    for key, value in wanted.items():
        if key.startswith(_XATTRS):
            os.setxattr(place, key, value, follow_symlinks=False)
    modified = _modified(info)
    os.utime(name, ns=(modified, modified), dir_fd=folder, follow_symlinks=False)


def _names(place: str) -> list[str]:
    """The extended attributes that an archive speaks of; overlayfs has its own in folders that were mounted."""
    try:
        names = os.listxattr(place, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
    return [name for name in names if name.startswith(_XATTRS) and not name.startswith(_NOT_XATTRS)]


def _modified(info: tarfile.TarInfo) -> int:
    """Nanoseconds; the text in the header says more of them than a float holds."""
    seconds, _, rest = info.pax_headers.get("mtime", "").partition(".")
    try:
        if not rest:
            found = int(float(info.mtime) * 10**9)
        else:
            found = abs(int(seconds)) * 10**9 + int(rest[:9].ljust(9, "0"))
            found = -found if seconds.startswith("-") else found
    except (ValueError, OverflowError):
        return 0
    return found if abs(found) < 1 << 62 else 0


def deleted_in(data: bytes) -> list[str]:
    """The paths in `deleted.files`; raises BadArchive."""
    try:
        paths = json_text.loads(data)
    except ValueError as error:
        raise BadArchive("the list of deleted files does not parse", f"{error!s:.100}") from error
    if not isinstance(paths, list) or len(paths) > _MOST_DELETED:
        raise BadArchive("the list of deleted files does not parse")
    found = []
    for path in paths:
        if not isinstance(path, str) or not (clean := inside(path.lstrip("/"))):
            raise BadArchive("the list of deleted files does not parse", f"{path!r:.100}")
        found.append(clean)
    return found


def hide(paths: list[str], upper: Path) -> None:
    """Make whiteouts in an overlay's upper folder; raises BadArchive where a path is there or its folder is not."""
    with _opened(upper) as top:
        for path in paths:
            with _above(top, path) as (folder, name):
                seen = os.stat(folder)
                try:
                    os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=folder)
                except FileExistsError as error:
                    raise BadArchive(f"{path!r:.100} is deleted and there") from error
                os.utime(folder, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # the folder's time as it came


def clear(folder: Path) -> None:
    """Remove what is in a folder."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()
