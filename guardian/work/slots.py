"""Slots: so many dumps write at once; of those that wait, or are about to, the most valuable goes first."""

from __future__ import annotations

import bisect
import contextlib
import threading
import time

Rank = tuple[int, ...]
"""Lower goes first."""
_PATIENCE = 1.0
"""Seconds for which whoever comes first lets a slot pass for those of more worth that are about to come."""


class Slots:
    """Thread-safe."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: list[Rank] = []
        self._expected: list[Rank] = []
        self._changed = threading.Condition()  # its lock may be taken again

    def expect(self, rank: Rank) -> None:
        """Somebody is going to ask for a slot."""
        with self._changed:
            self._expected.append(rank)

    def forget(self, *ranks: Rank) -> None:
        """They are not, or have."""
        with self._changed:
            for rank in ranks:
                with contextlib.suppress(ValueError):
                    self._expected.remove(rank)
            self._changed.notify_all()

    def acquire(self, rank: Rank, *, limit: float) -> bool:
        """Wait at most `limit` seconds for a slot; returns whether there was one."""

        def is_next() -> bool:
            return self._free > 0 and self._waiting[0] == rank

        def is_first() -> bool:
            return is_next() and self._free > sum(other < rank for other in self._expected)

        end = time.monotonic() + limit
        with self._changed:
            self.forget(rank)
            bisect.insort(self._waiting, rank)
            try:
                mine = self._changed.wait_for(is_first, timeout=min(limit, _PATIENCE))
                mine = mine or self._changed.wait_for(is_next, timeout=max(0.0, end - time.monotonic()))
                self._free -= mine
                return mine
            finally:
                self._waiting.remove(rank)
                self._changed.notify_all()

    def release(self) -> None:
        """Give a slot back."""
        with self._changed:
            self._free += 1
            self._changed.notify_all()
