"""Coming: containers of another host that are started here while their images are still on the way.

The conversation on the worker's socket, once the call `arrive` is accepted:
    -> {"word": "complete"}      all images are there; anything else, and the end of the connection, means never
and then the end, as of every call.
"""

from __future__ import annotations

import threading

from guardian.work.departure import Talk

COMPLETE = "complete"
_LIMIT = 1200.0
"""Seconds for the last of the images: nobody begins so early that it takes long."""


class Coming:
    """What the starts of one move wait for. Thread-safe: each of them waits in a thread of its own."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._ended = threading.Event()
        self._complete = False
        threading.Thread(target=self._hear, name="coming", daemon=True).start()

    def _hear(self) -> None:
        self._complete = self._talk.hear(_LIMIT).get("word") == COMPLETE
        self._ended.set()

    def complete(self) -> bool:
        """Wait until all images are there, or will never be; returns which."""
        self._ended.wait(_LIMIT)
        return self._complete
