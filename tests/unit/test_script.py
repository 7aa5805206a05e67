"""Whether somebody was killed over a dump or a restore, by CRIU's log."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from guardian.work.script import was_killed, why

_SCRIPT = "(00.1) Error (criu/util.c:660): killed by signal 9: Killed\n(00.1) Error (criu/action-scripts.c:60): ...\n"
_OWN = "(00.1) Error (criu/files-reg.c:1): Can't create link remap\n"
_VOID = "(00.1) Error (criu/util.c:643): exited, status=1\n"


@pytest.mark.parametrize(
    ("log", "expected"), [("(00.1) pie: 1: dumped\n", True), (_SCRIPT, True), (_OWN, False), (_VOID, False)]
)
def test_an_end_without_an_error_of_its_own(tmp_path: Path, log: str, expected: bool) -> None:
    (tmp_path / "dump.log").write_text(log)
    assert was_killed(tmp_path / "dump.log", "rolled back") is expected


def test_nobody_says_why(tmp_path: Path) -> None:
    """runc was killed, which its CRIU finds out later: that is an error of its own then."""
    (tmp_path / "dump.log").write_text(_OWN)
    assert was_killed(tmp_path / "dump.log", "the dump failed")


def test_a_dump_that_never_began(tmp_path: Path) -> None:
    assert not was_killed(tmp_path / "dump.log", "rolled back")


def test_a_log_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken disk says nothing, and keeps nobody from being let go."""

    def broken(*_args: object, **_named: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", broken)
    monkeypatch.setattr(Path, "read_text", broken)
    assert why(tmp_path, "the dump was rolled back") == "the dump was rolled back"


def test_what_our_script_has_said_is_why(tmp_path: Path) -> None:
    (tmp_path / "dump.log").write_text(
        "guardian: cannot fsync the ledger: Input/output error\n(00.1) Error (criu/util.c:657): exited, status=1\n"
    )
    assert why(tmp_path, "rolled back") == "cannot fsync the ledger: Input/output error"
    (tmp_path / "dump.log").write_text(f"guardian: CRIU is not watched: No such file or directory\n{_OWN}")
    assert "link remap" in why(tmp_path, "rolled back")


def test_a_full_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tar that CRIU calls for a tmpfs ends with 2, and there is no room for what it says.

    Nor is it full any more where another dump failed of it and gave its room back.
    """
    (tmp_path / "dump.log").write_text("(00.1) Error (criu/util.c:657): exited, status=2\n")
    free = 3
    monkeypatch.setattr(
        os, "statvfs", lambda _path: os.statvfs_result((4096, 4096, 99999, free, 0, 0, 0, 0, 0, 255))
    )
    assert why(tmp_path, "rolled back").endswith("exited, status=2, no space in the store but 0 MiB")
    free = 1600
    assert why(tmp_path, "rolled back").endswith("exited, status=2, no space in the store but 6 MiB")
    free = 50000
    assert why(tmp_path, "rolled back").endswith("exited, status=2")
    free = 0
    (tmp_path / "dump.log").write_text("(00.1) Error (criu/page-xfer.c:263): No space left on device\n")
    assert why(tmp_path, "rolled back").endswith("No space left on device")
