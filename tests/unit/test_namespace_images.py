"""Images that CRIU's children write: cut short by a full disk, they are found before anybody is killed for them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from guardian.host.namespace_images import first_broken

_MAGIC = b"\x19\x43\x56\x54" + b"\x01\x02\x03\x04"
_MESSAGE = struct.pack("<I", 5) + b"hello"


def _folder(tmp_path: Path, name: str, data: bytes) -> Path:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "core-1.img").write_bytes(b"")  # not of a child's: CRIU itself finds that out
    return tmp_path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("utsns-12.img", _MAGIC + _MESSAGE),
        ("netns-9.img", _MAGIC + 3 * _MESSAGE),
        ("ipcns-shm-11.img", _MAGIC),
        ("ipcns-msg-11.img", _MAGIC + _MESSAGE + b"contents"),
    ],
)
def test_whole_ones(tmp_path: Path, name: str, data: bytes) -> None:
    assert first_broken(_folder(tmp_path, name, data)) == ""


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("utsns-12.img", b""),
        ("timens-0.img", _MAGIC),
        ("netns-9.img", _MAGIC + _MESSAGE + _MESSAGE[:-1]),
        ("ipcns-var-11.img", _MAGIC + _MESSAGE + b"\1\0"),
        ("ipcns-sem-11.img", _MAGIC[:4]),
    ],
)
def test_those_cut_short(tmp_path: Path, name: str, data: bytes) -> None:
    assert first_broken(_folder(tmp_path, name, data)) == name
