"""Arriving: take containers that another host sends, and run them once that host has given them up.

What is said over the link, JSON but for streams (host/frames.py); the source speaks first:
    -> offer                                  <- {"problems": [], "remarks": [], "images": [ids that are missing]}
    -> {"stream": "image"}, {"make": true}    <- {"made": true}
    -> {"stream": "volume" | "layer", "member", "pass", ...} ...    while they run, and again when they stand still
    -> {"ahead": true}                        <- {"ahead": true}    between the two: the first pass is on the disk
    -> {"stream": "file", "member", "name"} ..., {"complete": true, "limit": seconds, "images": [{name: bytes} ...]}
                                              <- {"proven": true}     all are restored up to where they could run
    -> {"moved": true}, or {"void": why}      <- {"done": true, "results": [...]}
At any time <- {"failed": why}: nothing is left here. From `proven` to `moved` only the source can decide; where its
word does not come, what is here waits for it, held (`resolve`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from guardian.host import archive_reader, erasure, gate, tree_put
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_arrivals import Arrivals
from guardian.host.frames import Input, LinkLost, Output, Pace
from guardian.host.record import Record
from guardian.model import archive
from guardian.model.archive import Volume
from guardian.model.errors import BadInput, GuardianError
from guardian.model.move import Offer
from guardian.model.outcome import Outcome, Result
from guardian.model.states import State
from guardian.work import address_hook, rebuild, reception, welcome
from guardian.work.arrival import Arrival
from guardian.work.awaiting import Awaiting, Restoring
from guardian.work.guest import Guest
from guardian.work.host import Host
from guardian.work.reception import Reception
from guardian.work.welcome import Welcome

log = logging.getLogger("guardian.move")

SILENCE = 600.0
"""Seconds without a word of the source after which it counts as gone."""
_AHEAD = 2.0
"""Seconds before the last of the images that dockerd is asked to start: it takes a third of a second, and its turn."""
_RESULT_LIMIT = 60.0
_LOOK_AGAIN = 0.1
_STREAMED = frozenset({archive.RECORD, archive.PROOF, archive.CONNECTIONS})


class Worker(Protocol):
    """How the worker is asked."""

    def restore(self, ids: Sequence[str]) -> list[Result]:
        """Returns what became of each container."""

    def arrive(self, ids: Sequence[str]) -> Restoring:
        """Restore once the images are there, up to where they could run: then their scripts wait for the word."""


def receive(host: Host, offered: Mapping[str, Any], link: tuple[Input, Output], worker: Worker) -> None:
    """Serve one source to its end; raises GuardianError where it could not be told."""
    offer = Offer.from_json(offered)
    reception.sweep(host)
    coming = Reception(host, offer.move)
    with coming.open(), contextlib.closing(Arrivals()) as engine:
        try:
            _Arriving(host, offer, coming, engine, link, worker).run()
        finally:
            erasure.away(coming.staging, host.ledger.store, overwrite=host.config.erase)


class _Arriving:
    """One move."""

    def __init__(
        self,
        host: Host,
        offer: Offer,
        coming: Reception,
        engine: Arrivals,
        link: tuple[Input, Output],
        worker: Worker,
    ) -> None:
        self._host = host
        self._offer = offer
        self._coming = coming
        self._engine = engine
        self._input, self._output = link
        self._worker = worker
        self._guests: list[Guest] = []
        self._folders: list[Path] = []
        """Where the files of the containers are."""
        self._awaiting = Awaiting(self._input)
        self._pace = Pace(sum(item.size.memory for item in offer.members), ahead=_AHEAD)

    def run(self) -> None:
        """From the offer to the end."""
        with self._awaiting:
            self._run()

    def _run(self) -> None:
        try:
            found = welcome.look(self._host, self._engine, self._offer, self._coming.staging)
            self._guests = [Guest(arrival) for arrival in found.guests]
            self._output.message(
                {
                    "problems": list(found.problems),
                    "remarks": list(found.remarks),
                    "images": list(found.images),
                }
            )
            if found.problems or not self._input.message(limit=SILENCE).get("go"):
                self._coming.forget()
                return
            limit = self._take(found)
        except (GuardianError, OSError, LookupError, TypeError, ValueError) as error:
            self._fail(error)
            return
        if limit:
            self._decide(limit)

    def _fail(self, error: Exception) -> None:
        """Before the vote everything is taken back, and the source goes on."""
        self._awaiting.let_go()
        log.warning("a move from %s came to nothing: %s", self._offer.host, error)
        self._coming.take_back(self._engine)
        with contextlib.suppress(LinkLost):
            self._output.message({"failed": str(error)[:2000]})

    def _take(self, found: Welcome) -> float:
        """Take all that is sent; returns the limit for the word, 0 where the source has given the move up."""
        while True:
            said = self._input.message(limit=SILENCE)
            if said.get("void"):
                self._awaiting.let_go()
                self._coming.take_back(self._engine)
                return 0.0
            if said.get("make"):
                self._make(found)
                self._output.message({"made": True})
            elif said.get("ahead"):
                rebuild.sync_folders(self._folders)  # so that little is left for the standstill
                self._output.message({"ahead": True})
            elif said.get("complete"):
                self._check_images(said.get("images"))
                return float(said["limit"])
            else:
                self._take_stream(said)

    def _take_stream(self, said: Mapping[str, Any]) -> None:
        if said.get("stream") == "file":
            is_image = str(said.get("name")).startswith(archive.IMAGES)
            passed = self._image_comes if is_image else lambda _: None
            self._input.to_file(self._file(said), limit=SILENCE, passed=passed)
            return
        stream = self._input.stream(limit=SILENCE)
        kind = said.get("stream")
        if kind == "image":
            self._engine.load(stream.pieces())
        elif kind in ("volume", "layer"):
            place = self._place_of(said)
            if said.get("pass") == 1:
                tree_put.put(stream, place)
            else:
                tree_put.update(stream, place, _paths(said.get("removed")))
                _describe_root(place, said.get("root"))
        elif kind == "deleted":
            self._guest(said).deleted = tree_put.deleted_in(b"".join(stream.pieces()))
        else:
            raise BadInput("the other host sends what is not known", repr(kind)[:100])
        stream.drain()

    def _guest(self, said: Mapping[str, Any]) -> Guest:
        number = said.get("member")
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(self._guests):
            raise BadInput("the other host sends something of no container")
        return self._guests[number]

    def _place_of(self, said: Mapping[str, Any]) -> Path:
        """The folder that a stream of files goes into."""
        guest = self._guest(said)
        if said["stream"] == "layer":
            return self._engine.upper(guest.container.id)
        for volume in guest.arrival.manifest.volumes:
            if volume.name == said.get("name"):
                return self._volume_place(guest, volume)
        raise BadInput("the other host sends a volume that it has not offered")

    def _volume_place(self, guest: Guest, volume: Volume) -> Path:
        """By where it is mounted: Docker gives another name to those that had none."""
        for mount in guest.container.mounts:
            if (
                mount.destination == volume.destination
                and mount.kind == "volume"
                and mount.source.startswith("/")
            ):
                return Path(mount.source)
        raise BadInput(f"the volume {volume.name} is not there")

    def _image_comes(self, size: int) -> None:
        """Have the containers started when little of their memory is missing, so that CRIU need not wait for dockerd.

        No earlier: `docker inspect` of a container that is being started waits until it is.
        """
        if all(guest.files_are_there() for guest in self._guests) and self._pace.nearly(size):
            self._begin()

    def _begin(self) -> None:
        if not self._awaiting.begun:
            self._awaiting.begin(self._settle_in, self._worker.arrive)

    def _file(self, said: Mapping[str, Any]) -> Path:
        guest, name = self._guest(said), str(said.get("name"))
        if not archive.is_image(name) and name not in _STREAMED:
            raise BadInput("the other host sends a file of no such name", repr(name)[:100])
        path = guest.arrival.folder / name
        if name.startswith(archive.IMAGES) and not path.parent.exists():
            path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._host.ledger.make_images(path.parent)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def _make(self, found: Welcome) -> None:
        """Everything that the containers need, and themselves, none of them started."""
        for guest in self._guests:
            if not self._engine.image_id(guest.arrival.manifest.image_id):
                raise BadInput(
                    "the image that was sent is not the container's",
                    f"{guest.arrival.manifest.image_id} is not there after loading it",
                    hint="an image has another id in another kind of image store",
                )
        for name, container_id in found.replaced.items():
            self._coming.intend("rename", f"{container_id} {name}")
            self._engine.rename(container_id, f"{name}-moved-{self._offer.move[:8]}")
        wanted = [item for guest in self._guests for item in guest.arrival.container.networks]
        rebuild.networks(self._engine, wanted, lambda name: self._coming.intend("network", name))
        for guest in self._guests:
            self._make_volumes(guest, found.overwritten)
        for guest in self._guests:
            arrival = guest.arrival
            guest.container = rebuild.container(
                self._engine,
                arrival.name,
                arrival.inspection,
                arrival.container,
                lambda made: self._coming.intend("container", made),
            )
            gate.hold_arriving(guest.container.id, self._coming.folder)
        volumes = {self._volume_place(guest, item) for guest, item in self._volumes()}
        for place in volumes:
            tree_put.clear(place)
        # Now: dockerd says nothing of a container that it is starting.
        self._folders = [*volumes, *(self._engine.upper(guest.container.id) for guest in self._guests)]

    def _volumes(self) -> Iterator[tuple[Guest, Volume]]:
        for guest in self._guests:
            for volume in guest.arrival.manifest.volumes:
                yield guest, volume

    def _make_volumes(self, guest: Guest, overwritten: frozenset[str]) -> None:
        for volume in guest.arrival.volumes(named=True):
            there = self._engine.volume(volume.name)
            if there and volume.name not in overwritten and any(os.scandir(str(there["Mountpoint"]))):
                # Another container of this move may have made it: then it is empty, and else it was looked at.
                raise BadInput(f"the volume {volume.name} has content")
            if not there:
                facts = guest.arrival.volume_facts.get(volume.name)
                labels = (facts.get("Labels") if isinstance(facts, dict) else None) or {}
                self._coming.intend("volume", volume.name)
                self._engine.make_volume(volume.name, labels)

    def _decide(self, limit: float) -> None:
        """Restore up to where they could run, say so, and do what the source then says."""
        awaiting = self._awaiting
        self._begin()
        try:
            problem = awaiting.complete(self._take_images, self._folders) or awaiting.until_proven(limit)
        except (GuardianError, OSError, LookupError, TypeError, ValueError) as error:
            problem = str(error)
        if problem:
            self._fail(GuardianError("it could not be restored here", problem))
            return
        self._coming.vote()
        try:
            self._output.message({"proven": True})
            moved = awaiting.word(limit)
        except LinkLost as error:
            awaiting.let_go()
            log.warning("move %s: %s; it is undecided, what is here waits, held", self._offer.move, error)
            return
        if not moved:
            awaiting.let_go()
            self._coming.take_back(self._engine)
            return
        self._end(awaiting.go(partial(address_hook.take_over, self._host.config)))

    def _check_images(self, sizes: object) -> None:
        """What the source has, and what came: CRIU would find out late, and say less."""
        came = [
            {entry.name: entry.stat().st_size for entry in os.scandir(guest.arrival.folder / archive.IMAGES)}
            for guest in self._guests
        ]
        if sizes != came:
            raise BadInput("the images did not come whole")

    def _take_images(self) -> None:
        for guest in self._guests:
            rebuild.take_images(guest.checkpoint, guest.arrival)

    def _settle_in(self) -> list[Checkpoint]:
        for guest in self._guests:
            self._make_checkpoint(guest)
        return [guest.checkpoint for guest in self._guests]

    def _make_checkpoint(self, guest: Guest) -> None:
        """The writable layer is whole: a checkpoint like any other, but for its images, which waits for a word."""
        arrival = guest.arrival
        upper = self._engine.upper(guest.container.id)
        tree_put.hide(guest.deleted, upper)
        record = Record.from_json(archive_reader.read_json(arrival.folder / archive.RECORD))
        if record.container.id != arrival.container.id:
            raise BadInput("the record is another container's")
        told = Arrival(
            folder=arrival.folder,
            manifest=arrival.manifest,
            record=record,
            inspection=arrival.inspection,
            volume_facts=arrival.volume_facts,
            deleted=(),
            name=arrival.name,
        )
        guest.checkpoint = rebuild.checkpoint(self._host, self._engine, told, guest.container)
        guest.checkpoint.arrive(
            self._offer.move, self._offer.host, Awaiting.socket_of(guest.checkpoint), Awaiting.SCRIPT_LIMIT
        )
        gate.hold_arriving(guest.container.id, guest.checkpoint.folder)
        rebuild.complete(guest.checkpoint)

    def _end(self, results: Sequence[Result]) -> None:
        """They are this host's now: what did not run yet is restored like anything else that waits."""
        resumed = {result.container_id for result in results if result.outcome == Outcome.RESUMED}
        ended = [result for result in results if result.container_id in resumed]
        late = [guest.checkpoint for guest in self._guests if guest.container.id not in resumed]
        # Those that may have run, and whose worker died over it, are brought to their end by the next one.
        ended += [found for item in late if not item.restorable() and (found := _result(item))]
        waiting = [item.container_id for item in late if item.restorable()]
        if waiting:
            ended += self._worker.restore(waiting)
        self._coming.finish(self._engine)
        with contextlib.suppress(LinkLost):
            self._output.message({"done": True, "results": [result.to_json() for result in ended]})


def _result(checkpoint: Checkpoint) -> Result | None:
    """What becomes of a restore that somebody else brings to its end; None where that is not known in time."""
    end = time.monotonic() + _RESULT_LIMIT
    while (found := checkpoint.result()) is None and time.monotonic() < end:
        time.sleep(_LOOK_AGAIN)  # the ledger tells nobody
    return found


def _describe_root(place: Path, value: object) -> None:
    """Mode and owner of the folder itself, which no archive of what is in it has."""
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(item, int) for item in value):
        raise BadInput("the other host says what is not understood", "root")
    mode, uid, gid = value
    os.chown(place, uid, gid)
    os.chmod(place, mode & 0o7777)


def _paths(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadInput("the other host says what is not understood", "removed")
    return value


def resolve(host: Host, move: str, *, moved: bool, worker: Worker) -> list[Result]:
    """The source's word about a move that was left undecided here; returns what became of the containers."""
    found = [item for item in host.ledger.travelling(move) if item.undecided() and item.intact()]
    coming = Reception(host, move)
    with coming.open(), contextlib.closing(Arrivals()) as engine:
        if not moved:
            coming.take_back(engine)
            return []
        for checkpoint in found:
            checkpoint.mark(State.ARRIVED)
            address_hook.take_over(host.config, checkpoint)
        results = worker.restore([item.container_id for item in found]) if found else []
        coming.finish(engine)
        return results
