"""The barrier of a group: nobody dies before all are complete or given up."""

from __future__ import annotations

import threading
from collections.abc import Iterable


class Barrier:
    """Every member arrives or is given up, once; `wait` then tells all the same."""

    def __init__(self, members: Iterable[str], *, all_or_nothing: bool) -> None:
        self._waiting = set(members)
        self._given_up: set[str] = set()
        self._all_or_nothing = all_or_nothing
        self._changed = threading.Condition()

    def arrive(self, member: str) -> None:
        """This member is complete."""
        with self._changed:
            self._waiting.discard(member)
            self._changed.notify_all()

    def give_up(self, member: str) -> None:
        """This member will not come."""
        with self._changed:
            self._waiting.discard(member)
            self._given_up.add(member)
            self._changed.notify_all()

    def wait(self, *, limit: float) -> bool:
        """Wait for the others at most `limit` seconds; returns whether to go on.

        At the limit whoever is missing counts as given up.
        """
        with self._changed:
            came = self._changed.wait_for(lambda: not self._waiting, timeout=limit)
            return not (self._all_or_nothing and (self._given_up or not came))
