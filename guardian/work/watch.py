"""Watch: follows dockerd's events, so that what must be known when dockerd cannot be asked is always written down."""

from __future__ import annotations

import contextlib
import logging
import threading

from guardian.host import docker_daemon, facts
from guardian.host.docker_engine import Engine, Events
from guardian.model.errors import GuardianError, UnknownContainer
from guardian.work import engine_cycle, guarded, pending
from guardian.work.host import Host

log = logging.getLogger("guardian.watch")

_TELLING = frozenset({"start", "pause", "unpause", "die", "rename", "update"})
_LOOK_AGAIN = 1.0
"""Seconds between looks for a dockerd that is not there: nothing tells when it is."""


class Watch:
    """Runs in a thread of its own as long as the worker does."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._events: Events | None = None
        self._leave_alone = 0

    def run(self) -> None:
        """Follow one dockerd after the other."""
        pause = threading.Event()
        while True:
            try:
                pid = docker_daemon.running_pid()
                if pid and pid != self._leave_alone:
                    self._follow(pid)
            except (GuardianError, OSError) as error:
                log.warning("following dockerd: %s", error)
            except Exception:  # this thread must not end while the worker lives
                log.exception("following dockerd")
            pause.wait(_LOOK_AGAIN)

    def let_go(self) -> None:
        """Close the connection to a dockerd that is about to stop: it would wait 5 s for us to do so."""
        with self._lock:
            self._leave_alone = docker_daemon.running_pid()
            if self._events is not None:
                self._events.close()

    def _follow(self, pid: int) -> None:
        with contextlib.closing(Engine()) as engine:
            if not engine.answers():
                return
            with self._lock:
                if pid == self._leave_alone:
                    return
                events = self._events = engine.events()
            with contextlib.closing(events):
                engine_cycle.keep_facts(self._host, engine)
                for event in events:
                    if event.get("Action") in _TELLING:
                        self._keep(engine, str(event.get("id") or ""))
            with self._lock:
                self._events = None

    def _keep(self, engine: Engine, container_id: str) -> None:
        try:
            container = engine.container(container_id)
        except UnknownContainer:
            facts.forget(container_id)
            return
        found = guarded.find([container], self._host.config)
        pending.note_start(self._host, container)
        if found.members and container.running:
            facts.keep(container)
        elif not container.running:
            facts.forget(container_id)
