"""Errands at work, with a program in guardianctl's place: real processes, pipes and descriptors."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guardian.faces import errands, worker_errand
from guardian.faces.caller import Caller
from guardian.faces.incoming import Incoming
from guardian.faces.jobs import Call
from guardian.host import durable
from guardian.host.command import CommandFailed
from guardian.model.errors import BadInput, GuardianError
from tests.unit.samples import id_of

Ask = Callable[..., list[dict[str, Any]]]
FACTS = {"container_id": id_of("web"), "name": "web", "checkpoint": "c1"}
RESULT = FACTS | {"outcome": "resumed", "reason": "", "seconds": 1.5}
EXPORT = errands.of(Call.EXPORT, ("web",), {"host": "", "options": {"volumes": "all"}})
IMPORT = errands.of(Call.IMPORT, (), {"host": "", "options": {}})
MIGRATE = errands.of(Call.MIGRATE, ("web",), {"host": "two", "options": {}})


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Has an errand done by a program of the test's; returns all that is told."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program = tmp_path / "guardianctl"

    def asked(errand: errands.Errand, text: str, file: int | None = None) -> list[dict[str, Any]]:
        program.write_text(f"#!{sys.executable}\nimport json, os, sys\n{text}\n")
        program.chmod(0o755)
        ours, theirs = socket.socketpair()
        with ours, theirs, ours.makefile("r") as lines:
            ours.settimeout(20)
            socket.send_fds(ours, [b"{}\n"], [] if file is None else [file])
            with Incoming(theirs) as incoming:
                incoming.readline()
                descriptor = incoming.descriptor(needed=file is not None)
                worker_errand.run(errand, incoming, descriptor, Caller(theirs, incoming))
            theirs.shutdown(socket.SHUT_RDWR)
            return [json.loads(line) for line in lines]

    return asked


def test_an_export_writes_into_the_descriptor(ask: Ask, tmp_path: Path) -> None:
    text = f"""\
assert sys.argv[1:4] == ["export", "--json", "--volumes=all"], sys.argv
assert sys.argv[5:] == ["--", "web"]
number = int(sys.argv[4].removeprefix("--descriptor="))
there = [int(name) for name in os.listdir("/proc/self/fd")]
assert {{each for each in there if os.path.exists(f"/proc/self/fd/{{each}}")}} == {{0, 1, 2, number}}
assert os.getsid(0) == os.getpid()
os.write(number, b"archive")
print("guardianctl: one\\n\\nand \\x1b two", file=sys.stderr)
print(json.dumps({FACTS!r}))
"""
    with (tmp_path / "file").open("wb") as file:
        file.write(b"before ")
        file.flush()
        accepted, *lines, end = ask(EXPORT, text, file.fileno())
    assert (tmp_path / "file").read_bytes() == b"before archive"
    assert accepted == {"accepted": True}
    assert lines == [{"say": "one"}, {"say": "and ? two"}]
    (result,) = end["results"]
    assert (end["done"], end["error"]) == (0, None)
    assert {key: result[key] for key in FACTS} == FACTS
    assert (result["outcome"], result["reason"]) == ("exported", "")


def test_an_import_reads_the_descriptor(ask: Ask) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"archive")
    os.close(writing)
    held = FACTS | {"connections": 2}
    text = f"assert sys.stdin.read() == 'archive'\nprint(json.dumps({held!r}))"
    *_, end = ask(IMPORT, text, reading)
    os.close(reading)
    (result,) = end["results"]
    assert (result["outcome"], result["reason"]) == ("imported", "its 2 connections will be closed")


def test_whoever_reads_a_pipe_sees_its_end(ask: Ask) -> None:
    """Before the errand is over: nobody but guardianctl has the other end."""
    reading, writing = os.pipe()
    text = f"""\
number = int(sys.argv[4].partition("=")[2])
os.write(number, b"archive")
os.close(number)
assert sys.stdin.read() == ""
print(json.dumps({FACTS!r}))
"""
    found: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as file:
            found.append(file.read())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    saved = os.dup(writing)
    os.close(writing)
    *_, end = ask(EXPORT, text, saved)
    os.close(saved)
    thread.join(20)
    assert (found, end["done"]) == ([b"archive"], 0)


@pytest.mark.parametrize(("status", "outcome"), [(0, "resumed"), (1, "failed"), (3, "cold")])
def test_a_migration_has_the_other_hosts_results(ask: Ask, status: int, outcome: str) -> None:
    there = [RESULT | {"outcome": outcome, "reason": "so"}]
    text = f"""\
assert sys.argv[1:] == ["migrate", "--json", "--batch", "--", "web", "two"], sys.argv
assert os.environ["HOME"] and not sys.stdin.read()
print(json.dumps({{"host": "two", "results": {there!r}, "downtime": 1}}))
sys.exit({status})
"""
    *_, end = ask(MIGRATE, text)
    assert end == {"done": status, "results": there, "error": None}


def test_a_look_has_no_results(ask: Ask) -> None:
    assert ask(MIGRATE, "print('two can take web', file=sys.stderr)") == [
        {"accepted": True},
        {"say": "two can take web"},
        {"done": 0, "results": [], "error": None},
    ]


@pytest.mark.parametrize(
    ("text", "done", "name", "said"),
    [
        ("print('guardianctl: no', file=sys.stderr); sys.exit(4)", 4, "BadInput", "no"),
        ("print('usage', file=sys.stderr); sys.exit(2)", 4, "BadInput", "usage"),
        ("sys.exit(1)", 1, "Failed", "guardianctl ended with status 1"),
        ("os.kill(os.getpid(), 9)", 1, "Failed", "guardianctl ended with status -9"),
        ('print(\'{"error": {"name": "Busy", "text": "later"}}\'); sys.exit(4)', 4, "Busy", "later"),
        ("print('no json')", 1, "Failed", "is not understood"),
        ("print('[1]')", 1, "Failed", "is not understood"),
        ('print(\'{"results": [{"name": "web"}]}\')', 1, "Failed", "is not understood"),
        ('print(\'{"error": "what"}\')', 1, "Failed", "is not understood"),
    ],
)
def test_what_went_wrong(ask: Ask, text: str, done: int, name: str, said: str) -> None:
    *_, end = ask(MIGRATE, text)
    assert (end["done"], end["results"], end["error"]["name"]) == (done, [], name)
    assert said in end["error"]["text"]


def test_what_is_left_behind_does_not_hold_the_end_up(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_errand, "_REST", 0.1)
    text = "import subprocess; print(subprocess.Popen(['sleep', '20'], stdout=2).pid, file=sys.stderr)"
    _, line, end = ask(MIGRATE, text)
    os.kill(int(line["say"]), 9)
    assert end["done"] == 0


def test_without_guardianctl(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandFailed, match="does not start"):
        ask(MIGRATE, "")


def test_descriptors_that_are_of_no_use(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    reading, writing = os.pipe()
    found = {
        "not open for writing": [(os.open(tmp_path / "file", os.O_RDONLY), True), (reading, True)],
        "not open for reading": [
            (os.open(tmp_path / "file", os.O_WRONLY), False),
            (os.open(tmp_path / "file", os.O_PATH), False),
            (writing, False),
        ],
        "no file, pipe or socket": [
            (os.open(tmp_path, os.O_RDONLY), False),
            (os.open("/dev/null", os.O_RDWR), True),
        ],
        "does not block": [(os.pipe2(os.O_NONBLOCK)[1], True)],
    }
    for said, descriptors in found.items():
        for descriptor, is_export in descriptors:
            with pytest.raises(BadInput, match=said):
                worker_errand.check(descriptor, writing=is_export)
    worker_errand.check(writing, writing=True)
    for descriptor in {each for some in found.values() for each, _ in some}:
        os.close(descriptor)


def test_an_archive_that_nobody_reads_is_not_written() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(GuardianError, match="gone away"), durable.into(writing) as file:
        file.write(b"x" * 100)
    assert not Path(f"/proc/self/fd/{writing}").exists()
