"""Passenger: a running container that is to be moved, as it is offered, and how its files are sent in two passes."""

from __future__ import annotations

import dataclasses
import os
import secrets
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from guardian.host import layer, proc, runc, space, tree, tree_delta
from guardian.host.cgroup import Cgroup
from guardian.host.docker_engine import Engine
from guardian.host.frames import Output
from guardian.host.layer import Deleted, Layer
from guardian.host.record import Record
from guardian.host.tree import Node
from guardian.host.tree_delta import Seen
from guardian.model import archive
from guardian.model.archive import Volume
from guardian.model.config import Config
from guardian.model.container import Container
from guardian.model.errors import CannotSave
from guardian.model.move import Offered, Size
from guardian.model.savable import refusals
from guardian.model.states import Purpose
from guardian.work import address_hook, peers
from guardian.work.description import describe


@dataclasses.dataclass(frozen=True)
class _Folder:
    """A folder that is sent: a volume, or (without a name) the writable layer."""

    volume: str
    place: Path


class Passenger:
    """One container. Its files are sent while it runs (`first_pass`), and again when it stands still."""

    def __init__(self, number: int, container: Container, config: Config) -> None:
        """Raises CannotSave for a container that cannot be moved, and that is known beforehand.

        Raises BadInput or CommandFailed where its hook does not tell which addresses of this host it moves along.
        """
        self.number = number
        self.container = container
        self._config = config
        found = [f"{container.name}: {refusal.what}: {refusal.cure}" for refusal in refusals(container)]
        known = runc.state(container.id)
        if found or known is None or not proc.alive(known.pid):
            raise CannotSave("it cannot be moved", "; ".join(found) or f"{container.name} is not running")
        self._known = known
        upper = layer.of_process(known.pid, container.layer)
        if upper is None:
            raise CannotSave("it cannot be moved", f"{container.name}: its root is no overlay")
        self._layer: Layer = upper
        self._volumes = archive.chosen(container.mounts, "all")
        self._seen: dict[_Folder, Seen] = {}
        self._dirty: set[tuple[int, int]] = set()
        self.moving = address_hook.moving(config, container)

    def leave(self, host: str) -> None:
        """Have its hook take the addresses from this host; raises GuardianError."""
        address_hook.call(self._config, "leave", self.container, host, self.moving)

    def offer(self, engine: Engine) -> Offered:
        """How it is offered to the other host."""
        record = Record(
            container=self.container,
            purpose=Purpose.SUSPEND,
            taken=time.time(),
            boot=proc.boot_id(),
            group=(self.container.id,),
            cgroup=str(self._known.cgroup),
            own_network=self._known.own_network,
            oom_score_adj=runc.oom_score_adj(self._known.bundle),
            by_person=True,
        )
        inspection = engine.inspection(self.container.id)
        name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(record.taken))}000-{secrets.token_hex(3)}"
        manifest = describe(engine, name, record, inspection, volumes=self._volumes, with_image=True)
        files = sum(tree_delta.size_of(self._nodes(folder)) for folder in self._folders())
        return Offered(
            manifest=manifest,
            record=record.to_json(),
            inspection=inspection,
            volumes={volume.name: engine.volume(volume.name) for volume in self._volumes},
            size=Size(memory=space.memory_of(self.container.id), files=files),
        )

    def losses(self, there: Iterable[Container], group: Collection[str]) -> str:
        """The connections that the move will close, in words; empty where there are none."""
        return peers.losses(
            self.container,
            there,
            group,
            init=self._known.pid,
            pids=Cgroup(self._known.cgroup).pids(),
            own_network=self._known.own_network,
            moving=self.moving,
        )

    def _folders(self) -> Iterator[_Folder]:
        for volume in self._volumes:
            yield _Folder(volume.name, self._place(volume))
        yield _Folder("", self._layer.upper)

    def _place(self, volume: Volume) -> Path:
        return next(
            Path(mount.source) for mount in self.container.mounts if mount.destination == volume.destination
        )

    def _nodes(self, folder: _Folder, gone: Deleted | None = None, *, moving: bool = True) -> Iterator[Node]:
        if folder.volume:
            return tree.walk(folder.place, moving=moving)
        return layer.nodes(self._layer, gone or Deleted(), moving=moving)

    def _head(self, folder: _Folder) -> dict[str, object]:
        if folder.volume:
            return {"stream": "volume", "member": self.number, "name": folder.volume}
        return {"stream": "layer", "member": self.number}

    def first_pass(self, output: Output, sent: set[str]) -> None:
        """Send volumes and layer while the container runs; volumes that are in `sent` already are not sent again."""
        self._note_dirty()
        for folder in self._folders():
            if folder.volume and folder.volume in sent:
                continue
            sent.add(folder.volume)
            with output.stream({**self._head(folder), "pass": 1}) as write:
                self._seen[folder] = tree_delta.first(self._nodes(folder), write)

    def second_pass(self, output: Output) -> None:
        """Send what has changed since; the container stands still."""
        self._note_dirty()
        for folder, seen in self._seen.items():
            dirty = self._dirty
            removed = tree_delta.second(self._nodes(folder, moving=False), seen, None, dirty=dirty)
            top = os.stat(folder.place)
            root = [stat.S_IMODE(top.st_mode), top.st_uid, top.st_gid]
            with output.stream({**self._head(folder), "pass": 2, "removed": removed, "root": root}) as write:
                tree_delta.second(self._nodes(folder, moving=False), seen, write, dirty=dirty)
        deleted = Deleted()
        for _ in layer.nodes(self._layer, deleted):
            pass
        with output.stream({"stream": "deleted", "member": self.number}) as write:
            write(deleted.coded())

    def _note_dirty(self) -> None:
        self._dirty |= tree_delta.dirty_files(Cgroup(self._known.cgroup).pids(), self._layer.upper)
