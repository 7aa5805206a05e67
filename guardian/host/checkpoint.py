"""One checkpoint on disk: its marks, its verdict, its record, what became of it."""

from __future__ import annotations

import calendar
import contextlib
import dataclasses
import json
import logging
import os
import re
import time
from pathlib import Path

from guardian.host import chain, durable, erasure, paths, spare
from guardian.host.record import Record
from guardian.model import json_text
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

PREPARED = "mark"
"""A mark that lies ready: on a full disk it is linked, which needs no block (runtime/commit.c does the same)."""
NOTES = "notes"
"""Lies ready for the notes of such marks, STATE=NOTE."""
SPARE_RESULT = "result.spare"
_MOST_OF_A_NOTE = 300
"""Characters, of up to four bytes."""
MOVES = ".moves"
_MOVE = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A move's id, and no path that leads anywhere."""
CLOSED = "closed"
USER_STOP = "user-stop"
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

    def is_begun(self) -> bool:
        """Whether its folder was made to its end; `format` is written last."""
        return os.path.lexists(self.folder / "format")

    def taken(self) -> float:
        """When, by its id: wall-clock seconds, of use where its record cannot be read; 0 where it does not say.

        To the millisecond, which ids had none of at first: a container may have been started in the same second.
        """
        moment = self.id.partition("-")[0]
        try:
            seconds = calendar.timegm(time.strptime(moment[:15], "%Y%m%dT%H%M%S"))
            return seconds + int(moment[15:] or 0) / 1000
        except ValueError:
            return 0.0

    def format(self) -> int:
        """The record's format number; 0 where the file does not say."""
        try:
            return int((self.folder / "format").read_text())
        except (OSError, ValueError):
            return 0

    def processes(self) -> int:
        """How many processes were saved; 0 where that is not known."""
        try:
            return (self.folder / "tasks").read_bytes().count(b"\n")
        except OSError:
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
            prepared = self.folder / PREPARED
            if error.errno not in spare.FULL or not prepared.exists():
                raise
            log.warning("%s of %s: %s; marked by a link (%s)", state.value, self.id, error, note)
            if note:
                self._note_in_spare(state, note)
            with contextlib.suppress(FileExistsError):
                os.link(prepared, place)
            durable.sync_folder(place.parent)

    def _note_in_spare(self, state: State, note: str) -> None:
        """The notes of all states in one file. One that cannot be kept is lost: that the state was reached is not."""
        known = {**_lines(self.folder / NOTES), state.value: printable(note)[:_MOST_OF_A_NOTE]}
        text = "".join(f"{key}={value}\n" for key, value in known.items() if key.strip())
        try:
            spare.overwrite(self.folder / NOTES, text)
        except OSError as error:
            log.warning("%s of %s: its note is lost: %s", state.value, self.id, error)

    def note(self, state: State) -> str:
        """The note beside a mark, empty where there is none."""
        if state.value not in self.marks():
            return ""
        beside = _lines(self.marks_folder / state.value).get("note", "")
        return beside or _lines(self.folder / NOTES).get(state.value, "")

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

    def note_user_stop(self, dockerd: int, *, restarts: bool = False) -> None:
        """Keep that its user has stopped the container meanwhile, by the dockerd with this pid, or `restarts` it."""
        text = f"format={FORMAT}\ndockerd={dockerd}\nrestarts={int(restarts)}\n"
        durable.write(self.folder / USER_STOP, text)

    def user_stop(self) -> dict[str, str]:
        """What `note_user_stop` has kept; empty where nobody has stopped it."""
        return _lines(self.folder / USER_STOP)

    def forget_user_stop(self) -> None:
        """It was no stop, or it is taken back."""
        if (self.folder / USER_STOP).exists():
            (self.folder / USER_STOP).unlink(missing_ok=True)
            durable.sync_folder(
                self.folder
            )  # else a power cut brings it back, and the container stays stopped

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

    def is_undecided(self) -> bool:
        """Whether there is no verdict; raises OSError where that cannot be seen."""
        return "verdict" not in os.listdir((self._decision() or self.marks_folder / "verdict").parent)

    def _link(self, verdict: Verdict, place: Path) -> Verdict:
        with contextlib.suppress(FileExistsError):
            os.link(self.folder / f"word.{verdict.value}", place)
        durable.sync_folder(place.parent)
        return self.verdict() or Verdict.VOID

    def _decision(self) -> Path | None:
        """Where the verdict of its move is; None where it does not depart."""
        move = _lines(self.marks_folder / DEPARTING).get("move", "")
        return self.folder.parent.parent / MOVES / move / "verdict" if _MOVE.fullmatch(move) else None

    def depart(self, move: str, host: str) -> Path:
        """Have its commit give the container to another host; returns where the verdict of the move will be."""
        decision = self.folder.parent.parent / MOVES / move / "verdict"
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
            durable.write(decision.with_name(CLOSED), f"format={FORMAT}\n")
            if runs:
                self.drop_images()

    def open_move(self) -> str:
        """The id of the move that it departs with, where the other host may not know what was decided; else empty."""
        decision = self._decision()
        if decision is None or self.verdict() is None or decision.with_name(CLOSED).exists():
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
        for place in (self.folder / "result.json", paths.RESULTS / self.id):
            with contextlib.suppress(OSError, ValueError, BadInput):
                return Result.from_json(json_text.loads(place.read_text()))
        return None

    def set_result(self, result: Result) -> None:
        """Keep what became of it; raises OSError where that is kept only until the host goes down."""
        text = json.dumps(result.to_json(), indent=1) + "\n"
        place = self.folder / "result.json"
        try:
            durable.write(place, text)
        except OSError as error:
            if error.errno not in spare.FULL or not self._result_in_spare(text):
                durable.private_folder(paths.RESULTS)
                durable.write(paths.RESULTS / self.id, text)
                raise
        (paths.RESULTS / self.id).unlink(missing_ok=True)

    def _result_in_spare(self, text: str) -> bool:
        try:
            spare.overwrite(self.folder / SPARE_RESULT, text)
            os.rename(self.folder / SPARE_RESULT, self.folder / "result.json")
            durable.sync_folder(self.folder)
        except OSError as error:
            log.warning("the result of %s is not written yet: %s", self.id, error)
            return False
        return True

    def write_result(self) -> None:
        """Write down what `set_result` could not, where there is such a thing; raises OSError."""
        place = paths.RESULTS / self.id
        with contextlib.suppress(FileNotFoundError):
            text = place.read_text()
            durable.write(self.folder / "result.json", text)
            place.unlink()

    def drop_images(self) -> None:
        """Away with the images: they are not needed any more."""
        erasure.put_aside(self.folder / "img", self.folder.parent.parent)

    def image_size(self) -> int:
        """Bytes of the images."""
        try:
            return chain.size(self.folder / "img")
        except FileNotFoundError:
            return 0


def _lines(path: Path) -> dict[str, str]:
    """The lines KEY=VALUE of a small file; empty where it is not there."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    return {key: value for key, _, value in (line.partition("=") for line in text.split("\n"))}
