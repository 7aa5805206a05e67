"""Departure: a group stands still, dumped, until another host has said that it could run it; then it is that host's.

The conversation on the worker's socket, once the call `depart` is accepted:
    <- {"begun": [{"id":, "name":, "checkpoint":}...]}   all stand still, their dumps begin
    <- {"dumped": true}                                  all images are complete
    -> {"word": "commit"}                                anything else, and the end of the connection, is void
    <- {"verdict": "commit" | "void"}                    what holds, on disk: after "commit" nothing runs here any more
and then the end, as of every call. All members share one verdict (STORE/.moves/MOVE/verdict): runtime/commit.c.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from guardian.host.checkpoint import Checkpoint
from guardian.model.connections import Address
from guardian.model.errors import CannotSave
from guardian.model.states import Verdict


class Talk(Protocol):
    """The one who moves the containers."""

    def tell(self, data: Mapping[str, Any]) -> None:
        """Say something; whoever is gone does not hear it."""

    def hear(self, limit: float) -> dict[str, Any]:
        """What is said within `limit` seconds; empty where nothing is, or nobody is there any more."""


class Departure:
    """What the members of one move share. Thread-safe: each of them is dumped in a thread of its own."""

    def __init__(
        self, move: str, host: str, limit: float, talk: Talk, moving: frozenset[Address] = frozenset()
    ) -> None:
        """`moving` are this host's addresses that go along."""
        self.moving = moving
        self.move = move
        self.host = host
        self.limit = limit
        self._talk = talk
        self._waiting: set[str] = set()
        self._word: Verdict | None = None
        self._told = False
        self._why = ""
        self._changed = threading.Condition()

    def begin(self, checkpoints: Sequence[tuple[str, Checkpoint]]) -> None:
        """All members stand still; each is given with its name."""
        self._waiting = {checkpoint.container_id for _, checkpoint in checkpoints}
        shown = [
            {"id": item.container_id, "name": name, "checkpoint": str(item.folder)}
            for name, item in checkpoints
        ]
        self._talk.tell({"begun": shown})

    def give_up(self, container_id: str) -> None:
        """A member that has not handed over will not come: nobody leaves."""
        with self._changed:
            if container_id in self._waiting:
                self._word = Verdict.VOID
                self._changed.notify_all()

    def hand_over(self, container_id: str) -> None:
        """This member is complete: wait for the word about all of them; raises CannotSave unless it is commit."""
        with self._changed:
            self._waiting.discard(container_id)
            last = not self._waiting and self._word is None
        word = self._exchange() if last else None
        with self._changed:
            if last and self._word is None:
                self._word = word
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._word is not None, timeout=self.limit)
            if self._word is not Verdict.COMMIT:
                raise CannotSave("the move was given up", f"{self._why}it goes on here")

    def _exchange(self) -> Verdict:
        self._talk.tell({"dumped": True})
        begun = time.monotonic()
        said = self._talk.hear(self.limit)
        if not said and time.monotonic() - begun >= self.limit:
            self._why = f"it would have stood still for more than {self.limit:g} s, "
        return Verdict.COMMIT if said.get("word") == "commit" else Verdict.VOID

    def decided(self, checkpoint: Checkpoint) -> None:
        """A member's script has ended: say what holds, once it is on disk. Raises OSError where that cannot be had."""
        verdict = checkpoint.decide(Verdict.VOID)
        with self._changed:
            if not self._told:
                self._told = True
                self._talk.tell({"verdict": verdict.value})
