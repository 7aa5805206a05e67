"""What `make fuzz` has found, each as a test of its own."""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from guardian.faces import bus_values, configuration, jobs, worker_client
from guardian.faces.caller import Caller
from guardian.faces.incoming import Incoming
from guardian.host import durable, facts, gate, held_files, layer, mountinfo, paths, proc, runc, traits
from guardian.host.checkpoint import Checkpoint
from guardian.host.command import CommandFailed
from guardian.host.ledger import Ledger
from guardian.host.record import Record
from guardian.model import json_text, plain
from guardian.model.errors import BadInput
from guardian.model.held_files import Held, Place
from guardian.model.outcome import Outcome, Result
from guardian.model.states import DEPARTING, Purpose, State
from tests.unit.samples import container, id_of

TOP = Path(__file__).resolve().parents[2]
DEEP = "[" * 100_000
LARGE = 10**400


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    folder = tmp_path / id_of("app") / "20260101T000000000-abcdef"
    (folder / "ledger").mkdir(parents=True)
    (folder / "format").write_text("1\n")
    return Checkpoint(folder)


def record() -> Record:
    of = container()
    return Record(of, Purpose.SUSPEND, 1.79e9, "boot", (of.id,), "/sys/fs/cgroup/x", True, 0, False)


def test_json_that_is_nested_too_deeply(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nested"):
        json_text.loads(DEEP)
    with pytest.raises(BadInput):
        jobs.parse(DEEP)
    with pytest.raises(ValueError):
        worker_client.answer(DEEP)
    (checkpoint.folder / "record.json").write_text(DEEP)
    (checkpoint.folder / "result.json").write_text(DEEP)
    with pytest.raises(BadInput):
        checkpoint.record()
    assert checkpoint.result() is None
    with pytest.raises(BadInput):
        configuration.parsed(b"[labels]\nguard = " + DEEP.encode(), source="guardian.toml")
    assert tmp_path.exists()


def test_a_line_of_a_conversation_that_is_nested_too_deeply() -> None:
    here, there = socket.socketpair()
    with here, there, Incoming(there) as incoming:
        here.sendall(DEEP.encode()[:100_000] + b"\n")
        here.shutdown(socket.SHUT_WR)
        assert Caller(there, incoming).hear(5.0) == {}


def test_facts_that_do_not_parse_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "FACTS", tmp_path)
    (tmp_path / "one").write_text(DEEP)
    (tmp_path / "two").write_text(json.dumps(container().to_json()))
    assert [each.name for each in facts.kept()] == ["app"]


def test_files_of_the_ledger_that_are_no_text(checkpoint: Checkpoint) -> None:
    for name in ("ledger/departing", "ledger/spent", "remarks", "origin", "arrival", "tasks"):
        (checkpoint.folder / name).write_bytes(b"\xff\xfemove=\xff\nnote=\xff\n")
    assert checkpoint.state() is State.SPENT
    assert checkpoint.note(State.SPENT) == "\N{REPLACEMENT CHARACTER}"
    assert checkpoint.origin().isprintable()
    assert not checkpoint.restorable()
    assert checkpoint.remarks()
    assert checkpoint.undecided()
    assert checkpoint.processes() == 2


@pytest.mark.parametrize("move", ["../../x", "/etc", "a/b", "a\0b", "..", "x" * 65])
def test_the_id_of_a_move_is_no_path(checkpoint: Checkpoint, move: str) -> None:
    (checkpoint.marks_folder / DEPARTING).write_text(f"format=1\nmove={move}\nhost=h\n")
    assert checkpoint._decision() is None
    assert checkpoint.open_move() == ""


def test_a_result_with_a_number_that_is_none() -> None:
    data = Result(id_of("app"), "app", Outcome.COLD, "why", 1.0).to_json()
    with pytest.raises(BadInput):
        Result.from_json(data | {"seconds": LARGE})
    with pytest.raises(ValueError):
        bus_values.results([data | {"seconds": LARGE}])
    move = {"id": "a" * 32, "host": "h", "limit": LARGE}
    with pytest.raises(BadInput):
        jobs.parse(json.dumps({"call": "depart", "containers": ["a"], "move": move}))


@pytest.mark.parametrize("number", ["-1", "4", "1.0", "true", '"1"', "[1]", "1e3", str(1 << 70)])
def test_a_number_of_steps_that_is_none(number: str) -> None:
    with pytest.raises(BadInput):
        jobs.parse(f'{{"call": "checkpoint", "pre_dump": {number}}}')


@pytest.mark.parametrize("number", [None, 0, 3])
def test_a_number_of_steps(number: int | None) -> None:
    line = worker_client.request(jobs.Call.SNAPSHOT, ("web",), pre_dump=number)
    assert jobs.parse(line.decode()).pre_dump == number


@pytest.mark.parametrize(
    "said",
    [
        "7",
        "[]",
        '{"done":0}',
        '{"done":0,"results":3}',
        '{"done":0,"results":[1]}',
        '{"done":4,"results":[],"error":{}}',
    ],
)
def test_answers_that_no_worker_gives(said: str) -> None:
    try:
        found = worker_client.answer(said)
    except ValueError:
        return
    assert found is None, "only what may be of a newer worker is passed over"


def test_runc_states_that_are_not_runcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "moby"
    (root / "x").mkdir(parents=True)
    monkeypatch.setattr(paths, "runc_roots", lambda: [root])
    here = {"init_process_pid": os.getpid(), "init_process_start": 0, "config": {}}
    strange: tuple[Any, ...] = (
        [],
        {},
        7,
        {**here, "init_process_pid": LARGE},
        {**here, "init_process_pid": -1},
    )
    for data in strange:
        (root / "x" / "state.json").write_text(json.dumps(data))
        with pytest.raises(CommandFailed, match="not understood"):
            runc.state("x")
    for damaged in (b"", b"\xff", DEEP.encode()):
        (root / "x" / "state.json").write_bytes(damaged)
        assert runc.state("x") is None
    (root / "x" / "state.json").write_text(json.dumps(here))
    assert runc.state("x") is None, "another process has the number"


@pytest.mark.parametrize("data", ["[]", "7", '{"process": 7}', '{"process": {"oomScoreAdj": []}}', DEEP])
def test_bundles_that_say_nothing(tmp_path: Path, data: str) -> None:
    (tmp_path / "config.json").write_text(data)
    assert runc.oom_score_adj(tmp_path) == 0


def elf(at: int, offset: int) -> bytes:
    """The head of a program whose table of headers is at `at`, and whose only note is at `offset`."""
    head = held_files._ELF.pack(b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, at, 0, 0, 64, 56, 1)
    note = struct.pack("<III", 4, 4, 3) + b"GNU\0\xab\xcd\xef\x01"
    return head.ljust(64, b"\0") + held_files._PROGRAM.pack(4, 4, offset, 0, 0, len(note), 0, 4) + note


@pytest.mark.parametrize(
    ("at", "offset", "found"),
    [
        (64, 120, "abcdef01"),
        (1 << 63, 120, ""),
        (64, 1 << 63, ""),
        ((1 << 64) - 1, 0, ""),
        (64, (1 << 63) - 1, ""),
    ],
)
def test_a_program_whose_headers_point_nowhere(tmp_path: Path, at: int, offset: int, found: str) -> None:
    """A container can map such a file as code: what is noted at its checkpoint must not fail for it."""
    (tmp_path / "program").write_bytes(elf(at, offset))
    assert held_files._build_id_of(str(tmp_path / "program")) == found


@pytest.mark.parametrize("path", ["a\0b", "../x", "a/../../x", "\u2028"])
def test_files_that_no_process_can_have_open(path: str) -> None:
    with pytest.raises(ValueError):
        Place("/data", path)
    file = {"place": {"destination": "/data", "path": path}, "size": 1, "modified": 1}
    with pytest.raises(ValueError):
        plain.made(Held, {"frozen": 1, "mounted": [], "files": [file]})


@pytest.mark.parametrize("mark", ["\x0c", "\x0b", "\x1c", "\x85", "\u2028", "\r", "\u3000", "\xa0"])
def test_a_name_does_not_end_a_line(mark: str) -> None:
    """The kernel escapes blanks, tabs and line ends; everything else stands there as it is."""
    path = f"/data/x{mark}7f00-7f01 rwxp 0 0:1 7 /y"
    found, _ = traits.mapped(f"7f00-7f01 rw-s 00000000 00:01 7    {path}\n")
    assert [mapping.path for mapping in found] == [path]
    place = f"/a{mark}b"
    text = f"1 0 8:1 / {place} rw shared:1 - fuse.x {place} rw\n2 1 8:1 / /end rw - ext4 none rw\n"
    mounts = list(mountinfo.parse(text))
    assert [(mount.place, mount.kind, mount.ties) for mount in mounts] == [
        (place, "fuse.x", ("shared:1",)),
        ("/end", "ext4", ()),
    ]
    name = f"a){mark} S 1"
    rest = " ".join(["S", "9", *map(str, range(50))])
    assert proc.parsed(f"7 ({name}) {rest}\n").name == name


def test_an_overlay_whose_upper_folder_is_the_root() -> None:
    assert layer.parse("lowerdir=/a,upperdir=/") is None
    assert layer.parse("lowerdir=/a,upperdir=//") is None
    assert layer.parse("lowerdir=/a,upperdir=/.") is None


def test_files_of_the_run_folder_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "FROZEN", tmp_path / "frozen")
    monkeypatch.setattr(paths, "HOLDERS", tmp_path / "holders")
    (tmp_path / "frozen").mkdir()
    (tmp_path / "holders" / "x").mkdir(parents=True)
    (tmp_path / "frozen" / "x").write_bytes(b"\xff\ncheckpoint=/a\n")
    (tmp_path / "holders" / "x" / "ticket").write_bytes(b"\xff\ncheckpoint=/a\n")
    assert gate.frozen() == {"x": Path("/a")}
    assert gate.restoring_from("x") == Path("/a")


def test_a_refusal_is_json_whatever_the_hold_says(tmp_path: Path) -> None:
    (tmp_path / "holds").mkdir()
    (tmp_path / "runc").write_text("#!/bin/sh\n")
    (tmp_path / "runc").chmod(0o755)
    (tmp_path / "holds" / id_of("app")).write_text("format=1\nmessage=guardian: a\tb\x02\n")
    text = (TOP / "guardian" / "runtime" / "front.sh").read_text()
    text = text.replace("run=/run/guardian\n", f"run={tmp_path}\n").replace(
        "/usr/local/sbin ", f"{tmp_path} ", 1
    )
    command = ["sh", "-c", text, "runc", "--log", str(tmp_path / "log"), "create", id_of("app")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1
    assert json.loads((tmp_path / "log").read_text()) == {"level": "error", "msg": "guardian: refused"}


def test_a_checkpoints_folder_is_roots_alone_in_a_store_that_is_not(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        found = Ledger(store).begin(record())
        decision = found.depart("a" * 32, "h")
    finally:
        os.umask(before)
    for path in (
        found.folder,
        found.folder.parent,
        found.marks_folder,
        decision.parent,
        decision.parent.parent,
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    durable.private_folder(found.folder)
