"""Departing: bring running containers to another host; the source's side of the conversation in `arriving`.

The worker dumps and commits (`departure`); what is here only carries. Whatever ends it before the commit, the
containers go on here as if nothing had been; after it they are the other host's, whatever becomes of the link.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from guardian.host import fence
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine
from guardian.host.frames import Input, LinkLost, Output, Progress
from guardian.model import archive
from guardian.model.errors import BadInput, GuardianError
from guardian.model.move import Offer
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Verdict
from guardian.work.host import Say
from guardian.work.passenger import Passenger

log = logging.getLogger("guardian.move")

_ANSWER = 300.0
"""Seconds for the other host to look at an offer; loading an image and making containers has its own limit."""
_MAKING = 1800.0
_VERDICT = 120.0
ENDING = 1200.0
_FOLLOW = 0.02
"""Seconds between looks at an image that grows: a file that is written to tells nobody."""
_FILES = (
    ("record.json", archive.RECORD),
    ("proof", archive.PROOF),
    ("connections.json", archive.CONNECTIONS),
)


class Refused(GuardianError):
    """The other host cannot take the containers; `problems` are its reasons."""

    name = "CannotSave"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("the other host cannot take them", "; ".join(problems))
        self.problems = tuple(problems)


class Undecided(GuardianError):
    """Neither host knows what the other one has done."""


class Talk(Protocol):
    """The conversation with the worker (`departure`)."""

    def tell(self, data: Mapping[str, Any]) -> None:
        """Say something; raises GuardianError where the worker is gone."""

    def hear(self, limit: float) -> dict[str, Any]:
        """The next line, empty where none comes in time; raises GuardianError where the worker is gone."""


@dataclasses.dataclass(frozen=True)
class Arrived:
    """What became of a move. `results` are the other host's, `downtime` seconds from standing still to its word."""

    results: tuple[Result, ...]
    downtime: float
    bytes: int


class Departing:
    """One move from here."""

    def __init__(
        self,
        offer: Offer,
        passengers: Sequence[Passenger],
        link: tuple[Input, Output],
        say: Say,
        progress: Progress,
    ) -> None:
        self._offer = offer
        self._passengers = passengers
        self._input, self._output = link
        self._say = say
        self._progress = progress
        self._checkpoints: dict[str, Checkpoint] = {}

    def offered(self) -> list[str]:
        """Offer them; returns the ids of the images that the other host has not. Raises Refused."""
        self._output.message(self._offer.to_json())
        answer = self._hear(_ANSWER)
        for remark in _texts(answer.get("remarks")):
            self._say(remark)
        problems = _texts(answer.get("problems"))
        if problems:
            raise Refused(problems)
        return _texts(answer.get("images"))

    def decline(self) -> None:
        """It was only a question."""
        self._output.message({"go": False})

    def send_ahead(self, engine: Engine, images: Iterable[str]) -> None:
        """What can be sent while the containers run: images, volumes, writable layers."""
        self._output.message({"go": True})
        self._progress.expect(sum(member.size.files + member.size.memory for member in self._offer.members))
        known = {member.manifest.image_id: member.manifest for member in self._offer.members}
        for image in images:
            if image not in known:
                raise BadInput("the other host asks for an image that was not offered")
            tags = known[image].tags
            self._say(f"sending the image {tags[0] if tags else image}")
            with self._output.stream({"stream": "image"}) as write:
                for piece in engine.saved_image(tags[0] if tags else image):
                    write(piece)
        self._output.message({"make": True})
        if not self._hear(_MAKING).get("made"):
            raise BadInput("the other host says what is not understood")
        sent: set[str] = set()
        for passenger in self._passengers:
            passenger.first_pass(self._output, sent)
        self._output.message({"ahead": True})
        self._hear(_MAKING)

    def hand_over(self, talk: Talk, host: str) -> Arrived:
        """Stand still, dump, send, and let `host` run it; raises GuardianError where it goes on here.

        Raises Undecided where it was given up and the other host has not said what became of it.
        """
        frozen = self._until(talk, "begun", ENDING)
        begun = time.monotonic()
        self._say("standing still")
        self._checkpoints = {
            str(item["id"]): Checkpoint(Path(str(item["checkpoint"]))) for item in frozen["begun"]
        }
        try:
            self._send_rest(talk)
            sizes = [_sizes(self._folder(passenger) / "img") for passenger in self._passengers]
            self._output.message({"complete": True, "limit": ENDING, "images": sizes})
            if not self._hear(ENDING).get("proven"):
                raise BadInput("the other host says what is not understood")
        except GuardianError as error:
            self._give_up(talk, error)
            raise
        except (OSError, LookupError, ValueError) as error:
            # Images that are gone, say: the worker gave it up meanwhile, and knows why.
            why = self._give_up(talk, error)
            raise GuardianError("the move was given up", why or str(error)) from error
        verdict = self._commit(talk)
        if verdict is not Verdict.COMMIT:
            with contextlib.suppress(LinkLost):
                self._output.message({"void": "the source has given it up"})
            raise GuardianError("the move was given up", self._reason(talk))
        self._leave(host)
        return self._follow_up(begun)

    def _leave(self, host: str) -> None:
        """They are the other host's: so are the addresses that go along."""
        for passenger in self._passengers:
            try:
                passenger.leave(host)
            except GuardianError as error:
                self._say(f"{passenger.container.name}: its addresses did not leave: {error}")

    def _send_rest(self, talk: Talk) -> None:
        """While CRIU writes the images: what has changed in the files; then the images, as they grow.

        What is no image comes before them: the other host begins its starts while they are still coming.
        """
        for passenger in self._passengers:
            passenger.second_pass(self._output)
            folder = self._folder(passenger)
            self._send(
                passenger, [(folder / name, member) for name, member in _FILES if (folder / name).exists()]
            )
        largest = max(self._passengers, key=lambda item: self._offer.members[item.number].size.memory)
        sent = self._follow(largest, talk)
        for passenger in self._passengers:
            images = sorted((self._folder(passenger) / "img").iterdir())
            self._send(passenger, [(path, archive.IMAGES + path.name) for path in images if path not in sent])

    def _follow(self, passenger: Passenger, talk: Talk) -> set[Path]:
        """Send the pages of one container while CRIU writes them; returns what was sent once all dumps are complete.

        CRIU writes a file for each process, one after the other: what is not the newest grows no more.
        """
        folder = self._folder(passenger) / "img"
        sent: set[Path] = set()
        dumped = False
        while not dumped:
            path = next_pages(folder, sent)
            if path is None:
                dumped = self._is_dumped(talk)
                continue
            sent.add(path)
            with self._output.file(_file(passenger.number, archive.IMAGES + path.name), path) as more:
                while not dumped and next_pages(folder, sent) is None:
                    more()
                    dumped = self._is_dumped(talk)
                while more():
                    pass
        return sent

    def _is_dumped(self, talk: Talk) -> bool:
        said = talk.hear(_FOLLOW)
        if "done" in said:
            raise GuardianError("the move was given up", _why(said))
        return bool(said.get("dumped"))

    def _send(self, passenger: Passenger, files: Iterable[tuple[Path, str]]) -> None:
        for path, member in files:
            with self._output.file(_file(passenger.number, member), path) as more:
                more()

    def _folder(self, passenger: Passenger) -> Path:
        return self._checkpoints[passenger.container.id].folder

    def _commit(self, talk: Talk) -> Verdict:
        """Say the word and hear the verdict; where the worker dies over it, the ledger knows, once it is recovered."""
        try:
            talk.tell({"word": Verdict.COMMIT.value})
            return Verdict(self._until(talk, "verdict", _VERDICT)["verdict"])
        except (GuardianError, ValueError) as error:
            log.warning("%s", error)
        end = time.monotonic() + _VERDICT
        one = next(iter(self._checkpoints.values()))
        while time.monotonic() < end:
            verdict = one.verdict()
            if verdict is not None:
                return verdict
            time.sleep(_FOLLOW)  # another worker decides it, and tells nobody
        raise Undecided(
            "whether the move was committed is not known",
            "the worker ended over it",
            hint="guardianctl migrate --resolve",
        )

    def _follow_up(self, begun: float) -> Arrived:
        try:
            self._output.message({"moved": True})
            answer = self._input.message(limit=ENDING)
            while "done" not in answer:
                answer = self._input.message(limit=ENDING)
        except (LinkLost, BadInput) as error:
            raise Undecided(
                "the containers were given up, and the other host has not said what became of them",
                str(error),
                hint="guardianctl migrate --resolve",
            ) from error
        downtime = time.monotonic() - begun
        results = tuple(Result.from_json(item) for item in answer.get("results") or ())
        # Beside the goodbyes of ssh: a large image takes its time to go.
        threading.Thread(target=self._close, args=(results,)).start()
        return Arrived(results, downtime, self._progress.bytes)

    def _close(self, results: Sequence[Result]) -> None:
        try:
            close(self._checkpoints.values(), results)
        except OSError as error:
            log.warning("the move stays open here, guardianctl migrate --resolve closes it: %s", error)

    def _give_up(self, talk: Talk, error: Exception) -> str:
        """Before the word: it goes on here. The other host is told, if it is still there.

        Returns the worker's reason.
        """
        with contextlib.suppress(GuardianError):
            talk.tell({"word": Verdict.VOID.value})
        with contextlib.suppress(LinkLost):
            self._output.message({"void": str(error)[:1000]})
        return self._reason(talk)

    def _reason(self, talk: Talk) -> str:
        """Wait until the worker has brought it to its end; returns why, as it says."""
        try:
            return _why(self._until(talk, "done", ENDING))
        except GuardianError as error:
            return str(error)

    def _hear(self, limit: float) -> dict[str, Any]:
        answer = self._input.message(limit=limit)
        if "failed" in answer:
            raise GuardianError("the other host could not take them", str(answer["failed"])[:2000])
        return answer

    def _until(self, talk: Talk, key: str, limit: float) -> dict[str, Any]:
        """The worker's next line that has a key; its end without it is an error."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            said = talk.hear(end - time.monotonic())
            if key in said:
                return said
            if "done" in said:
                raise GuardianError("it goes on here", _why(said))
        raise GuardianError("the worker says nothing", f"for {limit:.0f} s")


def close(checkpoints: Collection[Checkpoint], results: Sequence[Result]) -> None:
    """The other host has said what became of all of them."""
    runs = len(results) == len(checkpoints) and all(item.outcome == Outcome.RESUMED for item in results)
    for checkpoint in checkpoints:
        fence.lift(checkpoint.container_id)
        checkpoint.close_move(runs=runs)


def _why(said: Mapping[str, Any]) -> str:
    """Why a job ended as it did, in its last line."""
    error = said.get("error")
    if isinstance(error, dict):
        return str(error.get("text"))
    return "; ".join(
        f"{item.get('name')}: {item.get('reason')}"
        for item in said.get("results") or ()
        if item.get("reason")
    )


def next_pages(folder: Path, sent: set[Path]) -> Path | None:
    """The oldest pages that were not sent: CRIU numbers the files as it begins them, and 10 comes after 9."""
    found = [path for path in folder.glob("pages-*.img") if path not in sent]
    return min(found, key=lambda path: (len(path.name), path.name), default=None)


def _sizes(folder: Path) -> dict[str, int]:
    """The length of each image, for the other host to compare."""
    return {entry.name: entry.stat().st_size for entry in os.scandir(folder)}


def _file(number: int, name: str) -> dict[str, object]:
    return {"stream": "file", "member": number, "name": name}


def _texts(value: object) -> list[str]:
    return [str(item)[:1000] for item in value] if isinstance(value, list) else []
