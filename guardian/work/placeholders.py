"""Placeholders: containers that take addresses which dockerd would give out first, so that others get theirs back.

dockerd gives out the lowest free address of a network, and takes no wish on the default bridge or on a network without
a subnet of the user's. A placeholder is a container of an empty image with a ticket whose gate nobody opens: `docker
start` gives it the lowest free address and then waits. It never runs anything, and is removed when the real ones have
theirs. See docs/decisions/0010-placeholders.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Self

from guardian.host import gate
from guardian.host.announcements import Announcements
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine
from guardian.host.docker_placeholders import Placeholders as Made
from guardian.host.record import Record
from guardian.model import addresses
from guardian.model.container import Attachment
from guardian.model.errors import GuardianError

log = logging.getLogger("guardian.placeholders")

_MOST = 64
"""Placeholders of one restore: each costs a quarter of a second."""
_START_LIMIT = 30.0
_GATE_SECONDS = 1200
"""Longer than any restore: dockerd would give the address back at its end."""


class Placeholders:
    """The placeholders of one restore; a context manager that leaves none behind."""

    def __init__(self, announcements: Announcements) -> None:
        self._announcements = announcements
        self._made: Made | None = None
        self._waiting: dict[str, tuple[Path, threading.Thread]] = {}
        # dockerd lists an address only some time after it has given it.
        self._given: dict[str, set[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for container_id, (cgroup, thread) in self._waiting.items():
            gate.withdraw(container_id)
            gate.clear_holder(container_id)
            thread.join(_START_LIMIT)
            with contextlib.suppress(OSError):
                cgroup.rmdir()
        if self._made is not None:
            self._made.remove()

    def make_way(self, record: Record, checkpoint: Checkpoint) -> None:
        """Take the free addresses below the container's own. Where it fails, it may get another address: said then."""
        for item in record.container.networks:
            if item.driver != "bridge" or item.pinned or not item.address4:
                continue
            given = self._given.setdefault(item.name, set())
            try:
                for number in self._free(item, given):
                    self._take(item, record, checkpoint)
                    given.add(number)
            except (GuardianError, OSError, ValueError) as error:
                log.warning(
                    "%s: the addresses below its own cannot be taken: %s", record.container.name, error
                )
            given.update(addresses.number(item))

    def _free(self, item: Attachment, given: set[int]) -> tuple[int, ...]:
        with contextlib.closing(Engine()) as engine:
            network = engine.network(item.name)  # not by id: the default bridge has a new one each time
        return addresses.free_below(item, network, given, most=_MOST - len(self._waiting))

    def _take(self, item: Attachment, record: Record, checkpoint: Checkpoint) -> None:
        if self._made is None:
            self._made = Made()
        container_id = self._made.make(item.name)
        cgroup = Path(record.cgroup.replace(record.container.id, container_id))
        if container_id not in str(cgroup):
            raise GuardianError("its cgroup is not named after it", record.cgroup)
        gate.give(
            gate.Ticket(
                container_id=container_id,
                checkpoint=checkpoint.folder,
                cgroup=str(cgroup),
                own_network=True,
                oom_score_adj=0,
                gate_seconds=_GATE_SECONDS,
                restore_seconds=1,
                flags=(),
            )
        )
        ended, writer = os.pipe2(os.O_CLOEXEC)
        thread = threading.Thread(target=_start, args=(container_id, writer), name="placeholder", daemon=True)
        self._waiting[container_id] = (cgroup, thread)
        thread.start()
        try:
            if not self._announcements.wait(container_id, ended, limit=_START_LIMIT):
                raise GuardianError("a placeholder did not start")
        finally:
            os.close(ended)


def _start(container_id: str, writer: int) -> None:
    """`docker start`, which ends when the placeholder's holder does, in an error."""
    try:
        with contextlib.closing(Engine()) as engine:
            engine.start(container_id, limit=_GATE_SECONDS)
    except GuardianError as error:
        log.debug("placeholder: %s", error)
    finally:
        os.close(writer)
