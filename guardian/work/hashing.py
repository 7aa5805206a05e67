"""Hashing: every checkpoint gets its manifest after its container is dead or runs again, one after the other."""

from __future__ import annotations

import logging
import os
import queue
import threading

from guardian.host import manifest
from guardian.host.checkpoint import Checkpoint
from guardian.model.errors import GuardianError

log = logging.getLogger("guardian.hashing")

_NICENESS = 15


class Hashing:
    """A thread that hashes in the background. What it has not come to when the worker ends stays unhashed."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Checkpoint] = queue.SimpleQueue()
        self._stop = threading.Event()

    def begin(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="hashing", daemon=True).start()

    def add(self, checkpoint: Checkpoint) -> None:
        """Have a checkpoint hashed that is complete."""
        self._waiting.put(checkpoint)

    def end(self) -> None:
        """Give up what is under way."""
        self._stop.set()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._stop.is_set():
            checkpoint = self._waiting.get()
            try:
                manifest.write(checkpoint, self._stop)
            except (GuardianError, OSError) as error:
                # Restored or removed meanwhile, most likely: then nobody needs it.
                log.info("checkpoint %s is not hashed: %s", checkpoint.id, error)
