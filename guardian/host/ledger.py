"""The ledger: one folder for each checkpoint, one small durable file for each state reached.

Layout of a checkpoint, STORE/CONTAINER-ID/CHECKPOINT-ID/:

    format          "1"; an unknown one is left alone
    purpose         "suspend" or "snapshot"
    record.json     the container's facts, when and in which boot it was taken
    ledger/STATE    one file for each state reached; `verdict` holds "commit" or "void"
    img/            CRIU's images; work/, work-restore/: CRIU's logs
    dump.conf, restore.conf, script, tasks, proof, word.commit, word.void, mark: for runtime/commit.c
    connections.json                        its TCP connections; conntrack, closing: what is done for them
    remarks         sentences to be said when it is restored
    layer, container.json                   where its writable layer is, and how `docker inspect` shows it
    rootfs-diff.tar, deleted.files          a snapshot's writable layer
    cpu             the processor it was taken on, as CRIU describes it, in hex
    origin          the id it had elsewhere, where it was imported
    result.json     what became of it, once that is known
    manifest.json   length and SHA-256 of each file that matters, once they are known
    ledger/departing    its commit gives the container to another host: which move, which host
    arrival         it came from another host: which move, which host, and for runtime/commit.c where to ask

STORE/.moves/MOVE/ has the `verdict` of a move, one for all its members, where this host is the source.

STORE/CONTAINER-ID/.last-number is the number of its last checkpoint.

C (runtime/commit.c) and /bin/sh (guardian-hold, guardian-emergency) write to it as well: nothing here may need a lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from guardian.host import durable
from guardian.host.record import Record
from guardian.model import json_text
from guardian.model.container import is_container_id
from guardian.model.errors import BadInput, StoreError
from guardian.model.outcome import Result
from guardian.model.states import (
    DEPARTING,
    FORMAT,
    Purpose,
    State,
    Verdict,
    readable,
    restorable,
    state_of,
)
from guardian.model.wording import printable

log = logging.getLogger("guardian.ledger")

_PREPARED = "mark"
"""A mark that lies ready: on a full disk it is linked, which needs no block (runtime/commit.c does the same)."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MOVES = ".moves"
_MOVE = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A move's id, and no path that leads anywhere."""
_CLOSED = "closed"
ARRIVAL = "arrival"
"""In a checkpoint's folder: how it came here, lines KEY=VALUE. Until it is marked ARRIVED its source may still run."""


@dataclasses.dataclass(frozen=True)
class Travel:
    """How a checkpoint left or came: the move's id and the other host."""

    move: str
    host: str


class Checkpoint:
    """One checkpoint on disk. Cheap to make; everything is read when asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def id(self) -> str:
        """The checkpoint's id: sorts by time."""
        return self.folder.name

    @property
    def container_id(self) -> str:
        """The container it was taken of."""
        return self.folder.parent.name

    @property
    def marks_folder(self) -> Path:
        """Where the states reached are."""
        return self.folder / "ledger"

    def record(self) -> Record:
        """Raises BadInput or StoreError where the record cannot be understood."""
        if not readable(self.format()):
            raise StoreError(
                f"checkpoint {self.id} has format {self.format()}",
                "this guardian does not know it",
                hint="install the guardian that wrote it, or release the container with --cold",
            )
        try:
            return Record.from_json(json_text.loads((self.folder / "record.json").read_text()))
        except (OSError, ValueError) as error:
            raise BadInput(f"the record of checkpoint {self.id} cannot be read", str(error)) from error

    def format(self) -> int:
        """The record's format number; 0 where the file does not say."""
        try:
            return int((self.folder / "format").read_text())
        except (OSError, ValueError):
            return 0

    def marks(self) -> frozenset[str]:
        """The names of the states reached."""
        try:
            return frozenset(name for name in os.listdir(self.marks_folder) if not name.startswith("."))
        except OSError:
            return frozenset()

    def verdict(self) -> Verdict | None:
        """What was decided, None where nothing was."""
        try:
            return Verdict((self._decision() or self.marks_folder / "verdict").read_text().strip())
        except (OSError, ValueError):
            return None

    def state(self) -> State:
        """How far it came."""
        return state_of(self.marks(), self.verdict())

    def purpose(self) -> Purpose:
        """SNAPSHOT where the file does not say: never restored by itself."""
        try:
            return Purpose((self.folder / "purpose").read_text().strip())
        except (OSError, ValueError):
            return Purpose.SNAPSHOT

    def restorable(self) -> bool:
        """Whether it may be restored by itself: it is intact, and no other host may have it."""
        return self.intact() and not self.undecided()

    def intact(self) -> bool:
        """Whether it is made to be resumed, committed, and has never run."""
        try:
            os.listdir(self.marks_folder)
        except OSError:
            return False  # what cannot be looked at may have run
        return restorable(self.purpose(), self.state(), self.format())

    def mark(self, state: State, note: str = "") -> None:
        """Write down, durably, that a state was reached."""
        line = f"note={printable(note)}\n" if note else ""
        place = self.marks_folder / state.value
        try:
            durable.write(place, f"format={FORMAT}\n{line}")
        except OSError as error:
            prepared = self.folder / _PREPARED
            if error.errno not in _FULL or not prepared.exists():
                raise
            # The note is lost with it: that the state was reached is what must not be.
            log.warning("%s of %s: %s; marked without %r", state.value, self.id, error, note)
            with contextlib.suppress(FileExistsError):
                os.link(prepared, place)
            durable.sync_folder(place.parent)

    def note(self, state: State) -> str:
        """The note beside a mark, empty where there is none."""
        try:
            text = (self.marks_folder / state.value).read_text(errors="replace")
        except OSError:
            return ""
        return next((line.removeprefix("note=") for line in text.split("\n") if line.startswith("note=")), "")

    def remark(self, text: str) -> None:
        """Keep a sentence that whoever restores it has to say."""
        durable.write(self.folder / "remarks", "".join(f"{line}\n" for line in (*self.remarks(), text)))

    def remarks(self) -> list[str]:
        """What `remark` has kept."""
        try:
            return [
                printable(line)
                for line in (self.folder / "remarks").read_text(errors="replace").split("\n")
                if line
            ]
        except OSError:
            return []

    def origin(self) -> str:
        """The id of the checkpoint whose archive was imported; empty where it was taken here."""
        try:
            return printable((self.folder / "origin").read_text(errors="replace").strip())
        except OSError:
            return ""

    def decide(self, verdict: Verdict) -> Verdict:
        """Link a verdict unless there is one; returns the one that holds. Whoever links first has decided."""
        decision = self._decision()
        if decision is not None:
            verdict = self._link(verdict, decision)
        self._link(verdict, self.marks_folder / "verdict")
        return self.verdict() or Verdict.VOID

    def _link(self, verdict: Verdict, place: Path) -> Verdict:
        with contextlib.suppress(FileExistsError):
            os.link(self.folder / f"word.{verdict.value}", place)
        durable.sync_folder(place.parent)
        return self.verdict() or Verdict.VOID

    def _decision(self) -> Path | None:
        """Where the verdict of its move is; None where it does not depart."""
        move = _lines(self.marks_folder / DEPARTING).get("move", "")
        return self.folder.parent.parent / _MOVES / move / "verdict" if _MOVE.fullmatch(move) else None

    def depart(self, move: str, host: str) -> Path:
        """Have its commit give the container to another host; returns where the verdict of the move will be."""
        decision = self.folder.parent.parent / _MOVES / move / "verdict"
        durable.private_folder(decision.parent)
        durable.sync_folder(decision.parent.parent)
        durable.write(
            self.marks_folder / DEPARTING, f"format={FORMAT}\nmove={move}\nhost={printable(host)}\n"
        )
        return decision

    def arrive(self, move: str, host: str, socket: Path, limit: int) -> None:
        """Have it wait for the word of the host that it comes from: at `socket`, `limit` seconds at most."""
        text = f"format={FORMAT}\nmove={move}\nhost={printable(host)}\nsocket={socket}\nlimit={limit}\n"
        durable.write(self.folder / ARRIVAL, text)

    def close_move(self, *, runs: bool) -> None:
        """The other host knows what was decided. Where it `runs` there, the images here are of no use any more."""
        decision = self._decision()
        if decision is not None:
            durable.write(decision.with_name(_CLOSED), f"format={FORMAT}\n")
            if runs:
                shutil.rmtree(self.folder / "img", ignore_errors=True)

    def open_move(self) -> str:
        """The id of the move that it departs with, where the other host may not know what was decided; else empty."""
        decision = self._decision()
        if decision is None or self.verdict() is None or decision.with_name(_CLOSED).exists():
            return ""
        return decision.parent.name

    def travel(self) -> Travel | None:
        """The move it departs or has come with; None where it was always here."""
        for place in (self.marks_folder / DEPARTING, self.folder / ARRIVAL):
            found = _lines(place)
            if found.get("move"):
                return Travel(found["move"], found.get("host", ""))
        return None

    def undecided(self) -> bool:
        """Whether it came from another host, which may still run the container."""
        return (self.folder / ARRIVAL).exists() and State.ARRIVED.value not in self.marks()

    def elsewhere(self) -> bool:
        """Whether another host runs the container, or may: it must be held here, and not be restored."""
        return self.state() is State.MOVED or (self.intact() and self.undecided())

    def result(self) -> Result | None:
        """What became of it, None where that is not known yet."""
        try:
            return Result.from_json(json_text.loads((self.folder / "result.json").read_text()))
        except (OSError, ValueError, BadInput):
            return None

    def set_result(self, result: Result) -> None:
        """Keep what became of it."""
        durable.write(self.folder / "result.json", json.dumps(result.to_json(), indent=1) + "\n")

    def image_size(self) -> int:
        """Bytes of the images."""
        try:
            return sum(entry.stat().st_size for entry in os.scandir(self.folder / "img"))
        except FileNotFoundError:
            return 0


class Ledger:
    """All checkpoints of the store."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def begin(self, record: Record) -> Checkpoint:
        """Make the folder of a new checkpoint, durable, numbered and without a mark; raises StoreError."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(record.taken))
        name = f"{stamp}{int(record.taken * 1000) % 1000:03}-{secrets.token_hex(3)}"
        folder = self.store / record.container.id / name
        try:
            for part in (folder / "ledger", folder / "img", folder / "work"):
                durable.private_folder(part)
            record = dataclasses.replace(record, number=_next_number(folder.parent))
            for word in Verdict:
                durable.write(folder / f"word.{word.value}", f"{word.value}\n")
            durable.write(folder / _PREPARED, f"format={FORMAT}\n")
            durable.write(folder / "purpose", f"{record.purpose.value}\n")
            durable.write(folder / "record.json", json.dumps(record.to_json(), indent=1) + "\n")
            durable.write(folder / "format", f"{FORMAT}\n")
            durable.sync_folder(folder.parent)
            durable.sync_folder(self.store)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise StoreError(
                "the store cannot be written", str(error), hint=f"look at {self.store}"
            ) from error
        return Checkpoint(folder)

    def of(self, container_id: str) -> list[Checkpoint]:
        """The container's checkpoints, oldest first; raises StoreError."""
        folder = self.store / container_id
        return [Checkpoint(folder / name) for name in self._listed(folder) if (folder / name).is_dir()]

    def all(self) -> Iterator[Checkpoint]:
        """Every checkpoint of the store; raises StoreError where it cannot be read."""
        for name in self._listed(self.store):
            if not is_container_id(name):
                continue
            try:
                yield from self.of(name)
            except StoreError as error:
                log.error("%s", error)

    def _listed(self, folder: Path) -> list[str]:
        """What is in a folder of the store, in order; nothing where it is not there."""
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0:
                raise StoreError("the store cannot be read", "only root may") from error
            raise StoreError("the store cannot be read", str(error), hint=f"look at {self.store}") from error

    def pending(self, container_id: str) -> Checkpoint | None:
        """The newest checkpoint that may be restored."""
        return next((item for item in reversed(self.of(container_id)) if item.restorable()), None)

    def elsewhere(self, container_id: str) -> Checkpoint | None:
        """The newest checkpoint made to be resumed, where it says that another host has the container, or may."""
        for item in reversed(self.of(container_id)):
            if item.purpose() is Purpose.SUSPEND and item.state() is not State.VOID:
                return item if item.elsewhere() else None
        return None

    def travelling(self, move: str) -> list[Checkpoint]:
        """The checkpoints that depart or came with a move."""
        return [item for item in self.all() if (found := item.travel()) is not None and found.move == move]

    def closed_moves(self) -> list[Path]:
        """The folders of the moves from here whose other host knows what was decided."""
        return [path.parent for path in sorted((self.store / _MOVES).glob(f"*/{_CLOSED}"))]

    def size(self) -> int:
        """Bytes of all images."""
        return sum(checkpoint.image_size() for checkpoint in self.all())


def _lines(path: Path) -> dict[str, str]:
    """The lines KEY=VALUE of a small file; empty where it is not there."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    return {key: value for key, _, value in (line.partition("=") for line in text.split("\n"))}


def _next_number(folder: Path) -> int:
    """The next number of a container's checkpoints; one is never used twice, whatever was removed."""
    file = folder / ".last-number"
    try:
        last = int(file.read_text())
    except (OSError, ValueError):
        last = sum(1 for entry in os.scandir(folder) if entry.is_dir()) - 1
    durable.write(file, f"{last + 1}\n")
    return last + 1


def remove(checkpoint: Checkpoint) -> None:
    """Delete a checkpoint. The caller has made sure that it is not needed."""
    shutil.rmtree(checkpoint.folder, ignore_errors=True)


def remove_all(checkpoints: Iterable[Checkpoint]) -> None:
    """Delete checkpoints. The caller has made sure that they are not needed."""
    for checkpoint in checkpoints:
        remove(checkpoint)
