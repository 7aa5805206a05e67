"""The ledger: one folder for each checkpoint, one small durable file for each state reached.

Layout of a checkpoint, STORE/CONTAINER-ID/CHECKPOINT-ID/:

    format          "1"; an unknown one is left alone
    purpose         "suspend" or "snapshot"
    record.json     the container's facts, when and in which boot it was taken
    ledger/STATE    one file for each state reached; `verdict` holds "commit" or "void"
    img/            CRIU's images; work/, work-restore/: CRIU's logs
    dump.conf, restore.conf, script, tasks, proof, word.commit, word.void: for runtime/commit.c
    connections.json                        its TCP connections; conntrack, closing: what is done for them
    remarks         sentences to be said when it is restored
    layer, container.json                   where its writable layer is, and how `docker inspect` shows it
    rootfs-diff.tar, deleted.files          a snapshot's writable layer
    origin          the id it had elsewhere, where it was imported
    result.json     what became of it, once that is known
    manifest.json   length and SHA-256 of each file that matters, once they are known

STORE/CONTAINER-ID/.last-number is the number of its last checkpoint.

C (runtime/commit.c) and /bin/sh (guardian-hold, guardian-emergency) write to it as well: nothing here may need a lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guardian.host import durable
from guardian.model import plain
from guardian.model.container import Container, is_container_id
from guardian.model.errors import BadInput, StoreError
from guardian.model.outcome import Result
from guardian.model.states import FORMAT, Purpose, State, Verdict, readable, restorable, state_of
from guardian.model.wording import printable, quoted

log = logging.getLogger("guardian.ledger")


@dataclasses.dataclass(frozen=True)
class Record:
    """What is written down before anything is done. `taken` is wall-clock seconds, for people; `boot` the boot id.

    `number` counts the container's checkpoints, 0 before one has been given; `note` is a person's, or empty.
    """

    container: Container
    purpose: Purpose
    taken: float
    boot: str
    group: tuple[str, ...]
    cgroup: str
    own_network: bool
    oom_score_adj: int
    by_person: bool
    number: int = 0
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {
            "container": self.container.to_json(),
            "purpose": self.purpose.value,
            "taken": self.taken,
            "boot": self.boot,
            "group": list(self.group),
            "cgroup": self.cgroup,
            "own_network": self.own_network,
            "oom_score_adj": self.oom_score_adj,
            "by_person": self.by_person,
            "number": self.number,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, data: Any) -> Record:
        """Raises BadInput for anything `to_json` would not have written."""
        try:
            # A newer guardian may have written more; what matters would have another format.
            record = plain.made(cls, data, more=True)
        except ValueError as error:
            raise BadInput("a checkpoint's record does not parse", str(error)) from error
        if not is_container_id(record.container.id):
            raise BadInput(
                "a checkpoint's record does not parse", f"{quoted(record.container.id)} is no container id"
            )
        return record


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
            return Record.from_json(json.loads((self.folder / "record.json").read_text()))
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
            return Verdict((self.marks_folder / "verdict").read_text().strip())
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
        """Whether it is made to be resumed, committed, and has never run."""
        try:
            os.listdir(self.marks_folder)
        except OSError:
            return False  # what cannot be looked at may have run
        return restorable(self.purpose(), self.state(), self.format())

    def mark(self, state: State, note: str = "") -> None:
        """Write down, durably, that a state was reached."""
        line = f"note={printable(note)}\n" if note else ""
        durable.write(self.marks_folder / state.value, f"format={FORMAT}\n{line}")

    def note(self, state: State) -> str:
        """The note beside a mark, empty where there is none."""
        try:
            text = (self.marks_folder / state.value).read_text()
        except OSError:
            return ""
        return next(
            (line.removeprefix("note=") for line in text.splitlines() if line.startswith("note=")), ""
        )

    def remark(self, text: str) -> None:
        """Keep a sentence that whoever restores it has to say."""
        durable.write(self.folder / "remarks", "".join(f"{line}\n" for line in (*self.remarks(), text)))

    def remarks(self) -> list[str]:
        """What `remark` has kept."""
        try:
            return [printable(line) for line in (self.folder / "remarks").read_text().splitlines()]
        except OSError:
            return []

    def origin(self) -> str:
        """The id of the checkpoint whose archive was imported; empty where it was taken here."""
        try:
            return (self.folder / "origin").read_text().strip()
        except OSError:
            return ""

    def decide(self, verdict: Verdict) -> Verdict:
        """Link a verdict unless there is one; returns the one that holds. Whoever links first has decided."""
        with contextlib.suppress(FileExistsError):
            os.link(self.folder / f"word.{verdict.value}", self.marks_folder / "verdict")
        durable.sync_folder(self.marks_folder)
        return self.verdict() or Verdict.VOID

    def result(self) -> Result | None:
        """What became of it, None where that is not known yet."""
        try:
            return Result.from_json(json.loads((self.folder / "result.json").read_text()))
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
                part.mkdir(mode=0o700, parents=True, exist_ok=True)
            record = dataclasses.replace(record, number=_next_number(folder.parent))
            for word in Verdict:
                durable.write(folder / f"word.{word.value}", f"{word.value}\n")
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
        """The container's checkpoints, oldest first."""
        folder = self.store / container_id
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError("the store cannot be read", str(error), hint=f"look at {self.store}") from error
        return [Checkpoint(folder / name) for name in names if (folder / name).is_dir()]

    def all(self) -> Iterator[Checkpoint]:
        """Every checkpoint of the store; raises StoreError where it cannot be read."""
        try:
            names = sorted(os.listdir(self.store))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError("the store cannot be read", str(error), hint=f"look at {self.store}") from error
        for name in names:
            if not is_container_id(name):
                continue
            try:
                yield from self.of(name)
            except StoreError as error:
                log.error("%s", error)

    def pending(self, container_id: str) -> Checkpoint | None:
        """The newest checkpoint that may be restored."""
        return next((item for item in reversed(self.of(container_id)) if item.restorable()), None)

    def size(self) -> int:
        """Bytes of all images."""
        return sum(checkpoint.image_size() for checkpoint in self.all())


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
