"""The administrator's executables, and what is said on the wire when an address came."""

from __future__ import annotations

import ipaddress
import os
import signal
from pathlib import Path

import pytest

from guardian.host import arp, hooks, paths, proc
from guardian.host.command import CommandFailed
from guardian.model.errors import BadInput


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "HOOKS", tmp_path)
    return tmp_path


def _write(folder: Path, text: str, mode: int = 0o755) -> None:
    (folder / "hook").write_text(f"#!/bin/sh\n{text}\n")
    os.chmod(folder / "hook", mode)


def test_a_hook_is_told_and_asked(folder: Path) -> None:
    _write(folder, 'echo "$1 $GUARDIAN_EVENT $GUARDIAN_CONTAINER"')
    assert hooks.call("hook", "leave", {"CONTAINER": "web"}, limit=5) == "leave leave web\n"


def test_addresses_are_parsed(folder: Path) -> None:
    _write(folder, "echo 192.0.2.1 ::ffff:192.0.2.2; echo 2001:db8::1")
    found = hooks.addresses("hook", {}, limit=5)
    assert hooks.shown(found) == "192.0.2.1 192.0.2.2 2001:db8::1"


@pytest.mark.parametrize("printed", ["nonsense", "192.0.2.1/24", "300.1.1.1"])
def test_what_is_no_address_is_refused(folder: Path, printed: str) -> None:
    _write(folder, f"echo '{printed}'")
    with pytest.raises(BadInput, match="no address"):
        hooks.addresses("hook", {}, limit=5)


def test_only_roots_own_executables_are_run(folder: Path) -> None:
    with pytest.raises(BadInput, match="no hook"):
        hooks.find("hook")
    _write(folder, "true", 0o775)
    with pytest.raises(BadInput, match="root's alone"):
        hooks.find("hook")
    os.chmod(folder / "hook", 0o644)
    with pytest.raises(BadInput, match="executable"):
        hooks.find("hook")
    (folder / "folder").mkdir()
    with pytest.raises(BadInput, match="executable"):
        hooks.find("folder")


def test_a_hook_that_fails_or_hangs_is_an_error(folder: Path) -> None:
    _write(folder, "echo no >&2; exit 3")
    with pytest.raises(CommandFailed, match="failed with 3: no"):
        hooks.call("hook", "leave", {}, limit=5)
    _write(folder, f"sleep 60 & echo $! >{folder}/child; wait")
    with pytest.raises(CommandFailed, match="longer than"):
        hooks.call("hook", "leave", {}, limit=0.5)
    child = int((folder / "child").read_text())
    assert proc.wait_for_exit(child, limit=5), "what it has started ends with it"


def test_a_hook_that_prints_without_end_costs_neither_memory_nor_time(folder: Path) -> None:
    _write(folder, "exec yes")
    with pytest.raises(CommandFailed, match="longer than"):
        hooks.call("hook", "leave", {}, limit=0.3)
    _write(folder, "yes | head -c 10000000")
    assert len(hooks.call("hook", "leave", {}, limit=5)) == hooks.MOST_OUTPUT


def test_a_hook_has_ended_when_its_first_process_has(folder: Path) -> None:
    _write(folder, "sleep 60 & echo $!")
    child = int(hooks.call("hook", "leave", {}, limit=5))
    assert proc.alive(child)
    os.kill(child, signal.SIGKILL)


def test_an_announcement_is_a_gratuitous_request() -> None:
    frame = arp.frame(bytes.fromhex("020000000001"), ipaddress.IPv4Address("192.0.2.7"))
    assert frame.hex() == (
        "ffffffffffff02000000000108060001080006040001020000000001c0000207000000000000c0000207"
    )
