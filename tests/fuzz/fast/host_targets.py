"""Targets of the second floor: what lies in folders, in /proc, and what comes through a pipe.

Files lie in a folder of memory, made anew for each process.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import ClassVar

from guardian.host import (
    checkpoint,
    facts,
    gate,
    held_files,
    layer,
    manifest,
    paths,
    proc,
    runc,
)
from guardian.host import connections as host_connections
from guardian.host.checkpoint import Checkpoint
from guardian.host.ledger import Ledger
from guardian.model.config import defaults
from guardian.model.states import State, Verdict
from guardian.work import checkpoints as known_checkpoints
from guardian.work import retention, staleness
from tests.fuzz.fast.outcome import Rejected
from tests.fuzz.fast.plain_targets import CONNECTIONS, FULL, HELD, RECORD
from tests.fuzz.fast.target import DEEP, JSON_WORDS, Target, coded, refusing, scratch
from tests.unit.samples import id_of

ID = id_of("web")


_FILES = (
    *(
        "format",
        "purpose",
        "record.json",
        "remarks",
        "origin",
        "layer",
        "result.json",
        "arrival",
        "connections.json",
    ),
    *(
        "manifest.json",
        "held-files.json",
        "container.json",
        "ledger/verdict",
        "ledger/departing",
        "ledger/spent",
    ),
    *("ledger/void", "ledger/committed", "ledger/held", "img/x.img", "dump.log", "ledger/orphaned", "cpu"),
)
_SPLIT = b"\xff\xfe"
"""Between the files of an input; the first byte of each names it."""


def _files(data: bytes, folder: Path, names: tuple[str, ...] = _FILES) -> list[Path]:
    """The files of an input, made in a folder."""
    made = []
    for piece in data.split(_SPLIT)[:8]:
        if piece:
            path = folder / names[piece[0] % len(names)]
            path.write_bytes(piece[1:])
            made.append(path)
    return made


@functools.cache
def _store() -> Path:
    folder = scratch() / "store" / ID / "20260101T000000000-abcdef"
    (folder / "ledger").mkdir(parents=True)
    (folder / "img").mkdir()
    (folder / "work").mkdir()
    return folder


def _ledger_on_disk(data: bytes) -> str:
    folder = _store()
    made = _files(data, folder)
    item = Checkpoint(folder)
    try:
        state = item.state()
        ended = {"spent", "void", "orphaned"} & item.marks()
        assert not (item.restorable() and ended), ended
        item.verdict(), item.remarks(), item.origin(), item.travel(), item.undecided(), item.elsewhere()
        item.open_move(), item.result(), item.image_size(), layer.noted(folder)
        for each in State:
            assert "\n" not in item.note(each)
        _refusing(item.record)
        _refusing(lambda: host_connections.kept(item))
        host_connections.moving(item)
        _refusing(lambda: manifest.verify(item))
        there = Ledger(folder.parent.parent)
        there.pending(ID), there.elsewhere(ID), there.travelling("x"), known_checkpoints.meaning(item)
        _refusing(lambda: known_checkpoints.known(there))
        retention._look(item)
        outside = {path.name for path in (folder.parent.parent).iterdir()} - {ID, ".moves"}
        assert not outside, outside
    finally:
        for path in made:
            path.unlink(missing_ok=True)
    return state.value


class _Memory(PurePosixPath):
    """A path of files that are in memory, as far as a ledger reads them: a disk's take 200 inputs a second."""

    there: ClassVar[dict[str, bytes]] = {}

    def read_text(self, errors: str = "strict") -> str:
        return io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding="utf-8", errors=errors).read()

    def read_bytes(self) -> bytes:
        if "\0" in str(self):
            raise ValueError("embedded null byte")
        found = self.there.get(str(self))
        if found is None:
            raise FileNotFoundError(2, "No such file or directory")
        return found

    def exists(self) -> bool:
        return str(self) in self.there


class _MemorySystem:
    """What host/checkpoint.py asks of `os`, of the same files."""

    @staticmethod
    def listdir(folder: Path | _Memory) -> list[str]:
        if not isinstance(folder, _Memory):
            return os.listdir(folder)
        return [name.rpartition("/")[2] for name in folder.there if name.rpartition("/")[0] == str(folder)]

    @staticmethod
    def scandir(folder: Path | _Memory) -> Iterable[os.DirEntry[str]]:
        return () if isinstance(folder, _Memory) else os.scandir(folder)


@functools.cache
def _in_memory() -> Checkpoint:
    setattr(checkpoint, "os", _MemorySystem)  # noqa: B010
    return Checkpoint(_Memory(f"/store/{ID}/20260101T000000000-abcdef"))  # type: ignore[arg-type]


def _ledger(data: bytes) -> str:
    item = _in_memory()
    pieces = [piece for piece in data.split(_SPLIT)[:8] if piece]
    _Memory.there = {f"{item.folder}/{_FILES[piece[0] % len(_FILES)]}": piece[1:] for piece in pieces}
    state = item.state()
    marks = item.marks()
    ended = {"spent", "void", "orphaned"} & marks
    assert not (item.restorable() and (ended or item.verdict() is not Verdict.COMMIT)), (
        marks,
        item.verdict(),
    )
    decision = item._decision()
    assert decision is None or ".." not in decision.parts, decision
    (
        item.remarks(),
        item.origin(),
        item.travel(),
        item.undecided(),
        item.elsewhere(),
        item.open_move(),
        item.result(),
    )
    layer.noted(item.folder)
    for each in State:
        assert "\n" not in item.note(each)
    for read in (item.record, lambda: host_connections.kept(item), lambda: manifest._read(item)):
        _refusing(read)
    host_connections.moving(item)
    known_checkpoints.meaning(item)
    return state.value


def _refusing(of: Callable[[], object]) -> None:
    """Called for what it may not raise."""
    try:
        with refusing():
            of()
    except Rejected:
        return


def _staleness(data: bytes) -> str:
    folder = _store()
    (folder / staleness.NOTE).write_bytes(data)
    found = staleness.changed(Checkpoint(folder), _mounted_here(), defaults())
    (folder / staleness.NOTE).unlink()
    assert found.isprintable(), found
    return found.rpartition(",")[2][:12]


@functools.cache
def _mounted_here():  # type: ignore[no-untyped-def]
    """The sample container with its volume in the scratch folder."""
    data = scratch() / "data"
    (data / "a").mkdir(parents=True)
    (data / "a/b").write_bytes(b"12345")
    setattr(held_files, "mountpoints", lambda: frozenset(("/",)))  # noqa: B010
    mounts = tuple(dataclasses.replace(mount, source=str(data)) for mount in FULL.mounts)
    return dataclasses.replace(FULL, mounts=mounts)


_RUN_FILES = (
    f"facts/{ID}",
    f"holds/{ID}",
    f"holders/{ID}/ticket",
    f"holders/{ID}/pid",
    f"frozen/{ID}",
    f"facts/{'0' * 64}",
)


@functools.cache
def _run() -> Path:
    run = scratch() / "run"
    for name in ("facts", "holds", "tickets", "frozen", "restores", f"holders/{ID}"):
        (run / name).mkdir(parents=True)
    for name in ("HOLDS", "TICKETS", "HOLDERS", "FROZEN", "FACTS", "RESTORES"):
        setattr(paths, name, run / name.lower())
    return run


def _gate(data: bytes) -> str:
    made = _files(data, _run(), _RUN_FILES)
    try:
        found = facts.kept()
        gate.frozen(), gate.holds(), gate.restoring_from(ID), gate.held(ID), gate.idle_holders()
        gate.await_restored(ID, limit=0.0)
    finally:
        for path in made:
            path.unlink(missing_ok=True)
    return f"{len(found)}"


@functools.cache
def _runc_root() -> Path:
    root = scratch() / "runc" / "moby"
    (root / ID).mkdir(parents=True)
    setattr(paths, "runc_roots", lambda: [root])  # noqa: B010
    setattr(proc, "inode", len)  # noqa: B010 - init's may not be looked at everywhere
    return root


def _runc_state(data: bytes) -> str:
    (_runc_root() / ID / "state.json").write_bytes(data)
    with refusing():
        found = runc.state(ID)
    return "none" if found is None else f"{found.network_is_path}"


def _runc_bundle(data: bytes) -> str:
    (_runc_root() / "config.json").write_bytes(data)
    found = runc.oom_score_adj(_runc_root())
    assert isinstance(found, int)
    return f"{found != 0}"


def _criu_log(data: bytes) -> str:
    path = _runc_root() / "dump.log"
    path.write_bytes(data)
    found = runc.first_error(path)
    assert len(found) <= 300
    return f"{bool(found)}"


def _piece(name: str, data: bytes, names: tuple[str, ...] = _FILES) -> bytes:
    return bytes([names.index(name)]) + data + _SPLIT


_BASE = (
    _piece("format", b"1\n")
    + _piece("purpose", b"suspend\n")
    + _piece("record.json", coded(RECORD.to_json()))
)
_COMMITTED = _BASE + _piece("ledger/verdict", b"commit\n")
_RUNC = {
    "id": ID,
    "init_process_pid": 1,
    "init_process_start": "@",
    "config": {"labels": ["bundle=/run/x"], "namespaces": [{"type": "NEWNET", "path": ""}]},
    "cgroup_paths": {"": "/sys/fs/cgroup/system.slice/docker-x.scope"},
}


def _runc_seed() -> bytes:
    seen = proc.stat(1)
    return coded({**_RUNC, "init_process_start": seen.started if seen else 0})


_LEDGER_WORDS = (
    *(_SPLIT + bytes([place]) for place in range(len(_FILES))),
    *(b"commit", b"void", b"move=", b"../", b"\0", b"\xff"),
)
_LEDGER_SEEDS = (
    _COMMITTED,
    _COMMITTED + _piece("ledger/spent", b"format=1\nnote=x\n") + _piece("result.json", b"{}"),
    _COMMITTED + _piece("ledger/departing", b"format=1\nmove=" + b"a" * 32 + b"\nhost=h\n"),
    _COMMITTED + _piece("arrival", b"format=1\nmove=" + b"a" * 32 + b"\nhost=h\nsocket=/x\nlimit=9\n"),
    _BASE + _piece("connections.json", coded(CONNECTIONS)) + _piece("remarks", b"a\nb\n"),
    _BASE
    + _piece("manifest.json", b'{"format":1,"files":{"img/x.img":{"size":1,"sha256":"00"}}}')
    + _piece("img/x.img", b"1"),
    _BASE
    + _piece("layer", b'{"upper":"/u","lower":["/l"]}')
    + _piece("container.json", b"{}")
    + _piece("origin", b"x\n"),
    _piece("format", b"1\n") + _piece("record.json", DEEP) + _piece("result.json", DEEP),
)
_GATE_SEEDS = (
    _piece(f"facts/{ID}", coded(FULL.to_json()), _RUN_FILES)
    + _piece(f"frozen/{ID}", b"format=1\ncheckpoint=/x\n", _RUN_FILES),
    _piece(f"holders/{ID}/ticket", b"format=1\ncheckpoint=/x\n", _RUN_FILES)
    + _piece(f"holders/{ID}/pid", b"1\n", _RUN_FILES),
    _piece(f"facts/{ID}", DEEP, _RUN_FILES),
)
TARGETS = (
    Target(
        "ledger",
        _ledger,
        _LEDGER_SEEDS,
        _LEDGER_WORDS,
    ),
    Target(
        "ledger-on-disk",
        _ledger_on_disk,
        _LEDGER_SEEDS,
        _LEDGER_WORDS,
        share=0.02,
    ),
    Target("staleness", _staleness, (coded(dataclasses.asdict(HELD)),), JSON_WORDS, tree=True),
    Target(
        "run-folder", _gate, _GATE_SEEDS, (_SPLIT, b"checkpoint=", b"\xff", b"9" * 40, b"-1"), longest=4000
    ),
    Target("runc-state", _runc_state, (_runc_seed(),), JSON_WORDS, tree=True),
    Target("runc-bundle", _runc_bundle, (coded({"process": {"oomScoreAdj": -5}}),), JSON_WORDS, tree=True),
    Target(
        "criu-log",
        _criu_log,
        (b"(00.1) Error (criu/x.c:1): broken\n",),
        (b"Error (", b"RLIMIT_NOFILE for self"),
    ),
)
