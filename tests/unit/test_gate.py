"""The gate of a holder: opened again and again until the holder has passed it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guardian.host import gate, paths

ID = "a" * 64


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The holder's end of a gate."""
    monkeypatch.setattr(paths, "HOLDERS", tmp_path)
    (tmp_path / ID).mkdir()
    os.mkfifo(tmp_path / ID / "gate")
    return os.open(tmp_path / ID / "gate", os.O_RDONLY | os.O_NONBLOCK)


def test_it_is_opened(reader: int) -> None:
    gate.open_gate(ID)
    assert os.read(reader, 16) == b"go\n"
    os.close(reader)


def test_nobody_is_there(reader: int) -> None:
    os.close(reader)
    gate.open_gate(ID)
    gate.open_gate("b" * 64)


def test_the_holder_passes_it_between_open_and_write(reader: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen once in some thousand restores: it must not cost the container its memory."""
    real = os.open

    def opened(*arguments: Any) -> int:
        descriptor = real(*arguments)
        os.close(reader)
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    gate.open_gate(ID)


CLEARER = """
import ctypes, errno, os, sys
from pathlib import Path
from guardian.host import gate, paths
libc = ctypes.CDLL(None, use_errno=True)
def must(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
paths.RESTORES = Path(sys.argv[1])
yard = paths.RESTORES / "one" / "work-restore" / ".criu.cgyard"
yard.mkdir(parents=True)
try:
    must(libc.unshare(0x20000))  # CLONE_NEWNS
    must(libc.mount(b"none", b"/", None, 0x44000, None))  # MS_REC | MS_PRIVATE
    must(libc.mount(sys.argv[2].encode(), str(yard).encode(), None, 0x1000, None))  # MS_BIND
except PermissionError as error:
    sys.exit("not permitted" if error.errno == errno.EPERM else str(error))
gate.clear_restore("one")
print(sorted(os.listdir(paths.RESTORES)))
"""


def test_what_a_killed_criu_has_mounted_is_not_emptied(tmp_path: Path) -> None:
    """Where the store is full CRIU works in the folder of the restore, and mounts the cgroup hierarchies there."""
    theirs = tmp_path / "theirs"
    (theirs / "empty").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", CLEARER, tmp_path / "restores", theirs],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr.strip() == "not permitted":
        pytest.skip("mounting is not permitted here")
    assert done.stdout.strip() == "[]", done.stderr
    assert (theirs / "empty").is_dir()
