"""Erasing: what was put aside is overwritten and removed behind everything else."""

from __future__ import annotations

import logging
import os
import threading

from guardian.host import erasure
from guardian.work.host import Host

log = logging.getLogger("guardian.erasing")

_NICENESS = 19
_EVERY = 15.0
"""Seconds after which is looked for what other processes have put aside: at the end of a move, gigabytes."""


class Erasing:
    """A thread of the worker's. What it has not come to when the worker ends is left to the next one."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stop = threading.Event()

    def begin(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="erasing", daemon=True).start()

    def end(self) -> None:
        """Give up what is under way."""
        self._stop.set()
        erasure.waiting.set()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._stop.is_set():
            erasure.waiting.clear()
            try:
                erasure.erase(self._host.ledger.store, overwrite=self._host.config.erase, stop=self._stop)
            except OSError as error:
                log.warning("what was put aside cannot be erased: %s", error)
            erasure.waiting.wait(_EVERY)
