"""Watch: follows dockerd's events, so that what must be known when dockerd cannot be asked is always written down."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from guardian.host import docker_daemon, facts, gate
from guardian.host.docker_engine import Engine, Events
from guardian.model.errors import GuardianError, UnknownContainer
from guardian.model.states import State
from guardian.work import engine_cycle, guarded, pending, user_stop
from guardian.work.checkpoint import line
from guardian.work.engine_stop import EngineStop
from guardian.work.host import Claims, Host

log = logging.getLogger("guardian.watch")

_TELLING = frozenset({"start", "pause", "unpause", "die", "rename", "update", "destroy"})
_STOPS = frozenset({"kill", "stop"})
_COUNT_EVERY = 10.0
_OUTCOME_LIMIT = 10.0
"""Seconds that a stop of dockerd waits at most for what comes of its users' stops, of containers it has just saved."""
_LOOK_AGAIN = 1.0
"""Seconds between looks for a dockerd that is not there: nothing tells when it is."""


class Watch:
    """Runs in a thread of its own as long as the worker does."""

    def __init__(self, host: Host, claims: Claims) -> None:
        self.engine_stop = EngineStop(host.config.checkpoint_budget)
        self._host = host
        self._claims = claims
        self._never = threading.Event()
        self._lock = threading.Lock()
        self._events: Events | None = None
        self._stops: list[threading.Thread] = []
        self._notes: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._held_for: dict[str, float] = {}

    def run(self) -> None:
        """Follow one dockerd after the other."""
        threading.Thread(target=self._write_notes, name="notes", daemon=True).start()
        while True:
            try:
                pid = docker_daemon.running_pid()
                if pid and not self.engine_stop.is_saved(pid):
                    self._follow(pid)
            except (GuardianError, OSError) as error:
                log.warning("following dockerd: %s", error)
            except Exception:  # this thread must not end while the worker lives
                log.exception("following dockerd")
            self._never.wait(_LOOK_AGAIN)

    def count_holds(self) -> None:
        """In a thread of its own: end the holds whose time is over.

        Time runs while dockerd is up and nothing works on the container; a hold made by a person has no end.
        """
        while not self._never.wait(_COUNT_EVERY):
            try:
                self._count()
            except Exception:  # this thread must not end while the worker lives
                log.exception("counting holds")

    def _count(self) -> None:
        holds = gate.holds()
        self._held_for = {held: seconds for held, seconds in self._held_for.items() if held in holds}
        if not holds or not docker_daemon.running_pid():
            return
        busy = self._claims.claimed()
        for container_id in holds:
            if container_id in busy or self._has_no_end(container_id):
                continue
            self._held_for[container_id] = self._held_for.get(container_id, -_COUNT_EVERY) + _COUNT_EVERY
            if self._held_for[container_id] >= self._host.config.hold_expiry:
                self._expire(container_id)

    def _has_no_end(self, container_id: str) -> bool:
        try:
            if self._host.ledger.elsewhere(container_id) is not None:
                return True
            checkpoint = self._host.ledger.pending(container_id)
            return checkpoint is not None and checkpoint.record().by_person
        except GuardianError:
            return False

    def _expire(self, container_id: str) -> None:
        try:
            with contextlib.closing(Engine()) as engine:
                container = engine.container(container_id)
            with self._claims.claim([container], "expiry"):
                log.info("%s", line(pending.expire(self._host, container)))
        except UnknownContainer:
            gate.lift(container_id)
        except (GuardianError, OSError) as error:
            log.error("the hold of %s expired and could not be ended: %s", container_id[:12], error)

    def let_go(self) -> None:
        """Close the connection to the dockerd that is about to stop: it would wait 5 s for us to do so.

        Not before it is known what its users' stops were: the next dockerd has not heard of them.
        """
        end = time.monotonic() + _OUTCOME_LIMIT
        try:
            for thread in self._stops:
                thread.join(max(0.0, end - time.monotonic()))
        finally:
            self.engine_stop.saved()
            with self._lock:
                if self._events is not None:
                    self._events.close()

    def _follow(self, pid: int) -> None:
        with contextlib.closing(Engine()) as engine:
            if not engine.answers():
                return
            with self._lock:
                if self.engine_stop.is_saved(pid):
                    return
                events = self._events = engine.events()
            with contextlib.closing(events):
                engine_cycle.keep_facts(self._host, engine)
                for event in events:
                    if event.get("Type") == "daemon":
                        # Its configuration was reloaded.
                        docker_daemon.note_up(live_restore=engine.live_restore(), root=engine.root())
                    elif event.get("Action") in _STOPS:
                        self._hear_stop(event)
                    elif event.get("Action") in _TELLING:
                        self._keep(engine, str(event.get("id") or ""))
            with self._lock:
                self._events = None

    def _hear_stop(self, event: Mapping[str, Any]) -> None:
        """A stop that is asked for, which has a signal, or one that is done; followed in a thread of its own."""
        container_id = str(event.get("id") or "")
        attributes = (event.get("Actor") or {}).get("Attributes") or {}
        number = str(attributes.get("signal")) if event.get("Action") == "kill" else ""
        args = (self._host, container_id, number)
        thread = threading.Thread(target=user_stop.heard, args=args, name="stop", daemon=True)
        thread.start()
        self._stops = [*(item for item in self._stops if item.is_alive()), thread]

    def _keep(self, engine: Engine, container_id: str) -> None:
        try:
            container = engine.container(container_id)
        except UnknownContainer:
            facts.forget(container_id)
            self._notes.put(lambda: self._note_removed(container_id))
            return
        found = guarded.find([container], self._host.config)
        if found.members and container.running:
            facts.keep(container)
        elif not container.running:
            facts.forget(container_id)
        self._notes.put(lambda: self._note_start(container_id))

    def _write_notes(self) -> None:
        """In a thread of its own: the store may hang, and what must be known in time is in /run."""
        while True:
            note = self._notes.get()
            try:
                note()
            except (GuardianError, OSError) as error:
                log.error("what dockerd has said cannot be written down: %s", error)
            except Exception:  # this thread must not end while the worker lives
                log.exception("writing down what dockerd has said")

    def _note_removed(self, container_id: str) -> None:
        """A container that was removed needs no record any more of having been moved, and no hold."""
        try:
            checkpoint = self._host.ledger.elsewhere(container_id)
            if checkpoint is not None:
                checkpoint.mark(State.ORPHANED, "the container was removed")
        finally:
            gate.lift(container_id)  # its checkpoint becomes an orphan at the next restore

    def _note_start(self, container_id: str) -> None:
        """Asked again: what the event was about may be long over, and its checkpoint a newer one."""
        with contextlib.suppress(UnknownContainer), contextlib.closing(Engine()) as engine:
            pending.note_start(self._host, engine.container(container_id))
