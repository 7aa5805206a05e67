"""Images encrypted at rest by the file system itself (fscrypt: ext4, f2fs), under a key that systemd-creds keeps.

Only the folders of images are encrypted, so that what decides at boot can be read without the key. The key is added to
the store's file system once a boot; from then on whoever may read the folder reads plain images, CRIU too. Numbers and
structures: Linux include/uapi/linux/fscrypt.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

from guardian.host import durable, paths
from guardian.host.command import CommandFailed, run_strange
from guardian.model.errors import StoreError

KEY_BYTES = 64
"""AES-256-XTS takes two keys of 32 bytes."""
IDENTIFIER = ".encryption"
"""In the store: by which key its images are encrypted, in hex."""
_LIMIT = 30.0
"""Seconds: a TPM takes its time."""

_SET_POLICY, _GET_POLICY = 0x800C6613, 0xC0096616
_ADD_KEY, _KEY_STATUS = 0xC0506617, 0xC080661A
_POLICY = struct.Struct("<BBBBB3x16s")
_V2, _XTS, _CTS, _PAD_32 = 2, 1, 4, 3
_SPECIFIER = struct.Struct("<II32s")
_BY_IDENTIFIER, _PRESENT = 2, 2
_SUPPORT = "ext4 with the feature `encrypt` (tune2fs -O encrypt) or f2fs has it; or put the store on LUKS"


def key() -> bytes:
    """The key, as systemd-creds decrypts it; raises StoreError."""
    argv = ["systemd-creds", "decrypt", f"--name={paths.STORE_KEY.name}", str(paths.STORE_KEY), "-"]
    try:
        done = run_strange([*argv, "--transcode=hex"], limit=_LIMIT, most=4096)
        if done.status != 0:
            raise CommandFailed(f"status {done.status}", done.output.strip()[-300:])
        found = bytes.fromhex(done.output.strip())
    except (CommandFailed, ValueError) as error:
        raise StoreError("the store's key is not there", str(error), hint="docs/encryption.md") from error
    if len(found) != KEY_BYTES:
        raise StoreError("the store's key is no key", f"{len(found)} bytes, not {KEY_BYTES}")
    return found


def unlock(store: Path, secret: bytes) -> None:
    """Give the key to the store's file system, and write down which one it is; raises StoreError."""
    argument = bytearray(
        _SPECIFIER.pack(_BY_IDENTIFIER, 0, b"") + struct.pack("<II32x", len(secret), 0) + secret
    )
    try:
        _ioctl(store, _ADD_KEY, argument)
        identifier = bytes(argument[8:24]).hex()
        if _identifier(store) != identifier:
            durable.write(store / IDENTIFIER, f"{identifier}\n")
    except OSError as error:
        raise _unsupported(store, error) from error


def protect(folder: Path, store: Path) -> None:
    """Have all that will be put into an empty folder encrypted; raises StoreError."""
    identifier = _identifier(store)
    if not identifier:
        raise StoreError("the store is to be encrypted and has no key", hint="docs/encryption.md")
    if not _is_present(store, identifier):
        raise StoreError("the store's key is not there", hint="docs/encryption.md")
    policy = bytearray(_POLICY.pack(_V2, _XTS, _CTS, _PAD_32, 0, bytes.fromhex(identifier)))
    try:
        _ioctl(folder, _SET_POLICY, policy)
    except OSError as error:
        raise _unsupported(store, error) from error


def is_encrypted(folder: Path) -> bool:
    """Whether the file system encrypts what is in a folder."""
    try:
        _ioctl(folder, _GET_POLICY, bytearray(struct.pack("<Q", _POLICY.size) + bytes(_POLICY.size)))
    except OSError:
        return False
    return True


def is_locked(folder: Path, store: Path) -> bool:
    """Whether a folder is encrypted and its key is not there: nothing in it can be read."""
    identifier = _identifier(store)
    return bool(identifier) and is_encrypted(folder) and not _is_present(store, identifier)


def _is_present(store: Path, identifier: str) -> bool:
    """Whether the file system has the key."""
    status = bytearray(_SPECIFIER.pack(_BY_IDENTIFIER, 0, bytes.fromhex(identifier)) + bytes(24 + 64))
    try:
        _ioctl(store, _KEY_STATUS, status)
    except OSError as error:
        # A file system that does not encrypt is told apart when a folder is to be protected.
        return error.errno in (errno.ENOTTY, errno.EOPNOTSUPP)
    return int.from_bytes(status[64:68], "little") == _PRESENT


def is_set_up(store: Path) -> bool:
    """Whether images of this store were ever encrypted."""
    return bool(_identifier(store))


def _identifier(store: Path) -> str:
    try:
        found = (store / IDENTIFIER).read_text().strip()
        return found if len(bytes.fromhex(found)) == 16 else ""
    except (OSError, ValueError):
        return ""


def _ioctl(path: Path, request: int, argument: bytearray) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.ioctl(descriptor, request, argument, True)
    finally:
        os.close(descriptor)


def _unsupported(store: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP):
        return StoreError(
            "the store cannot be encrypted", f"the file system of {store} does not", hint=_SUPPORT
        )
    return StoreError(
        "the store cannot be encrypted", error.strerror or str(error), hint="docs/encryption.md"
    )
