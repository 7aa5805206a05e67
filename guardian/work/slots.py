"""Slots: so many dumps write at once; of those that wait, the most valuable goes first."""

from __future__ import annotations

import bisect
import threading

Rank = tuple[int, ...]
"""Lower goes first."""


class Slots:
    """Thread-safe."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: list[Rank] = []
        self._changed = threading.Condition()

    def acquire(self, rank: Rank, *, limit: float) -> bool:
        """Wait at most `limit` seconds for a slot; returns whether there was one."""
        with self._changed:
            bisect.insort(self._waiting, rank)
            try:
                mine = self._changed.wait_for(
                    lambda: self._free > 0 and self._waiting[0] == rank, timeout=limit
                )
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
