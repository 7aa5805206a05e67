"""The stop of a dockerd that is under way: which one it is, and for how long that is believed."""

from __future__ import annotations

import threading
import time

from guardian.host import docker_daemon

_LIMIT = 300.0
"""Seconds in which a dockerd that is being stopped is gone: systemd kills it after 90."""


class EngineStop:
    """Asked from any thread; never waits for dockerd. One that is still there much later was not stopped after all."""

    def __init__(self, save_limit: float) -> None:
        """`save_limit`: seconds that saving its containers may take before it stops."""
        self._save_limit = save_limit
        self._lock = threading.Lock()
        self._under_way = threading.Event()
        self._pid = 0
        self._saved = False
        self._until = 0.0

    def begin(self) -> None:
        """This dockerd is about to stop, or we are: what a restore has not begun waits."""
        with self._lock:
            pid = docker_daemon.running_pid()
            self._saved = self._saved and self._is_of(pid)  # two units ask
            self._pid, self._until = pid, time.monotonic() + self._save_limit + _LIMIT
            self._under_way.set()

    def saved(self) -> None:
        """Its containers are saved: nothing that is heard of it from now on is their users' doing."""
        with self._lock:
            self._saved, self._until = True, time.monotonic() + _LIMIT

    def under_way(self) -> threading.Event:
        """Set while dockerd is about to stop; not any more where it is another one, or was not stopped after all."""
        pid = docker_daemon.running_pid()
        with self._lock:
            if not self._is_of(pid):
                self._under_way.clear()
        return self._under_way

    def is_saved(self, pid: int) -> bool:
        """Whether this dockerd is followed no more: until its containers are saved, their users may stop them."""
        with self._lock:
            return self._saved and self._is_of(pid)

    def _is_of(self, pid: int) -> bool:
        return pid == self._pid and time.monotonic() < self._until
