"""guardian-worker: the resident process that runs CRIU and follows dockerd's events. Not on the bus."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

from guardian import __version__
from guardian.faces import worker_errand, worker_inspect, worker_plan
from guardian.faces.caller import Caller
from guardian.faces.configuration import LEVELS, load_config
from guardian.faces.errands import Errand
from guardian.faces.incoming import Incoming
from guardian.faces.jobs import Call, Request, Status, status_of, status_of_plan
from guardian.host import criu_cpu, docker_daemon, encryption, facts, gate, paths, runc, sole, systemd
from guardian.host.docker_engine import Engine
from guardian.model.config import Config, from_mapping
from guardian.model.connections import address
from guardian.model.container import Container
from guardian.model.errors import BadInput, EngineUnavailable, GuardianError, StoreError, UnknownContainer
from guardian.model.graph import Graph, Member, build
from guardian.model.labels import Mode
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Purpose
from guardian.work import (
    checkpoints,
    engine_cycle,
    guarded,
    leaving,
    peers,
    pending,
    recover,
    release,
    retention,
    user_stop,
)
from guardian.work.checkpoint import checkpoint, goes_on
from guardian.work.coming import Coming
from guardian.work.departure import Departure
from guardian.work.erasing import Erasing
from guardian.work.hashing import Hashing
from guardian.work.host import Budget, Claims, Host
from guardian.work.overview import overview
from guardian.work.plan import plan
from guardian.work.restore import restore
from guardian.work.watch import Watch

log = logging.getLogger("guardian.worker")

_TIDY_EVERY = 3600.0
_PATIENCE = 120.0
"""Seconds that a job of systemd's waits for another one to end."""


class Worker:
    """Serves calls, one thread for each; keeps the facts current."""

    def __init__(self, config: Config) -> None:
        self._hashing = Hashing()
        self._host = dataclasses.replace(Host.of(config), committed=self._hashing.add)
        self._erasing = Erasing(self._host)
        self._claims = Claims()
        self._stops = threading.Lock()
        self._watch = Watch(self._host, self._claims)

    def run(self) -> None:
        """Serve until SIGTERM."""
        gate.make_folders()
        self._link_store()
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=self._leave, name="leave").start())
        threading.Thread(target=self._watch.run, name="events", daemon=True).start()
        threading.Thread(target=self._watch.count_holds, name="holds", daemon=True).start()
        threading.Thread(target=self._tidy, name="retention", daemon=True).start()
        lookout = worker_plan.Lookout(self._host, self._containers, self._claims.claimed)
        threading.Thread(target=lookout.run, name="lookout", daemon=True).start()
        self._hashing.begin()
        self._erasing.begin()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            temporary = paths.WORKER_SOCKET.with_suffix(".new")
            temporary.unlink(missing_ok=True)
            listening.bind(str(temporary))
            os.chmod(temporary, 0o600)
            listening.listen(16)
            temporary.rename(paths.WORKER_SOCKET)
            systemd.notify("READY=1")
            systemd.show_life()
            # After it, since it may wait for a dump that another worker has begun; calls wait in the socket's queue.
            recover.recover(self._host, say=lambda text: log.info("%s", text))
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=self._serve, args=(connection,), name="call", daemon=True).start()

    def _tidy(self) -> None:
        """Now and every hour: what grows too old goes although nothing happens."""
        never = threading.Event()
        while True:
            try:
                retention.tidy_all(self._host)
            except (GuardianError, OSError) as error:
                log.warning("old checkpoints cannot be removed: %s", error)
            never.wait(_TIDY_EVERY)

    def _leave(self) -> None:
        """SIGTERM: jobs are let come to their end first; the unit's TimeoutStopSec is the limit on the way down."""
        try:
            self._watch.engine_stop.begin()
        except Exception:  # whatever systemd answers, or does not: nothing keeps us here
            log.exception("leaving")
        self._erasing.end()  # the disk is the last jobs'
        self._claims.wait_until_free(limit=_PATIENCE)
        leaving.end_shims()
        os._exit(0)

    def _link_store(self) -> None:
        """The link that /bin/sh follows to the store."""
        try:
            self._host.ledger.store.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = paths.STORE_LINK.with_suffix(".new")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(self._host.ledger.store)
            temporary.rename(paths.STORE_LINK)
            self._unlock_store()
        except (StoreError, OSError) as error:
            log.error("the store cannot be used: %s", error)

    def _unlock_store(self) -> None:
        """Before anything is restored; a store that was encrypted once may still have such images."""
        store = self._host.ledger.store
        if self._host.config.encrypt or encryption.is_set_up(store):
            encryption.unlock(store, encryption.key())

    def _serve(self, connection: socket.socket) -> None:
        with connection, Incoming(connection) as incoming:
            caller = Caller(connection, incoming)
            try:
                request, errand, descriptor = worker_errand.request_of(incoming)
                caller.plain = request.plain
                if errand is None:
                    self._answer(request, caller)
                else:
                    self._refuse_unknown(errand)
                    worker_errand.run(errand, incoming, descriptor, caller)
            except GuardianError as error:
                caller.end(Status.REFUSED, [], error)
            except Exception as error:  # the caller must get an answer, whatever it is
                log.exception("call")
                caller.end(Status.FAILED, [], GuardianError("guardian has failed", repr(error)))

    def _answer(self, request: Request, caller: Caller) -> None:
        if request.call is Call.LIST:
            caller.end(Status.DONE, self._list())
            return
        if request.call is Call.PLAN:
            made = plan(self._host, self._containers(), request.containers)
            total = made["total"]
            status = status_of_plan(total["savable"], total["wanted"], fits=total["fits_time"])
            caller.end(status, [made])
            return
        if request.call is Call.FIND:
            caller.end(Status.DONE, self._find(request))
            return
        if request.call is Call.INSPECT:
            caller.end(Status.DONE, [{"json": worker_inspect.inspection_of(request.containers)}])
            return
        with caller.kept_waiting():
            results = self._work(request, caller)
        caller.end(status_of(request.call, results), [result.to_json() for result in results])

    def _work(self, request: Request, caller: Caller) -> list[Result]:
        calls = {
            Call.CHECKPOINT: self._checkpoint,
            Call.SNAPSHOT: self._snapshot,
            Call.REMOVE: self._remove,
            Call.RESTORE: self._restore,
            Call.RELEASE: self._release,
            Call.DEPART: self._depart,
            Call.ARRIVE: self._arrive,
            Call.ENGINE_STOPS: self._engine_stops,
            Call.ENGINE_DIED: self._engine_died,
            Call.ENGINE_IS_UP: self._engine_is_up,
        }
        return calls[request.call](request, caller)

    def _engine_stops(self, _request: Request, caller: Caller) -> list[Result]:
        if not docker_daemon.running_pid():
            return []  # it died: the drop-in's ExecStartPre does the work, just before a new one would kill them
        # A restore under way begins nothing new: what it has not begun stays in the ledger.
        self._watch.engine_stop.begin()
        # Two units ask, at once or one after the other: neither may end before the checkpoint has. All stay `claimed`
        # until dockerd is let go: that is what our SIGTERM waits for.
        with self._stops, contextlib.ExitStack() as claimed:
            if self._claims.claimed():
                docker_daemon.wake()  # what is under way waits for its answers
            self._claims.wait_until_free(limit=_PATIENCE)
            try:
                return engine_cycle.engine_stops(self._host, self._claims, claimed, say=caller.say)
            finally:
                self._watch.let_go()

    def _engine_died(self, _request: Request, caller: Caller) -> list[Result]:
        with self._claims.claim(facts.kept(), "checkpoint", wait=_PATIENCE):
            return engine_cycle.engine_died(self._host, say=caller.say)

    def _engine_is_up(self, _request: Request, caller: Caller) -> list[Result]:
        stopping = self._watch.engine_stop.under_way()
        stopping.clear()
        with self._claims.claim(self._containers(), "restore", wait=self._host.config.restore_budget):
            return engine_cycle.engine_is_up(self._host, stopping=stopping, say=caller.say)

    def _checkpoint(self, request: Request, caller: Caller) -> list[Result]:
        containers = self._containers()
        found = guarded.find(containers, self._host.config)
        chosen = guarded.choose(found, containers, request.containers)
        if not request.containers:
            chosen = [
                member
                for member in chosen
                if member.container.running and member.policy.mode is Mode.CHECKPOINT
            ]
        with self._claims.claim([member.container for member in chosen], "checkpoint"):
            caller.accept()
            results = self._taken(Purpose.SUSPEND, found.graph, chosen, request, caller)
            pending.until_noticed(results)
        return results

    def _taken(
        self, purpose: Purpose, graph: Graph, chosen: list[Member], request: Request, caller: Caller
    ) -> list[Result]:
        return checkpoint(
            self._host,
            graph,
            chosen,
            purpose=purpose,
            by_person=True,
            budget=Budget(self._host.config.checkpoint_budget),
            say=caller.say,
            given_up=goes_on,
            note=request.note,
            pre_dump=request.pre_dump,
        )

    def _snapshot(self, request: Request, caller: Caller) -> list[Result]:
        """Of any container that is named, guarded or not; without a name of all guarded ones that run."""
        containers = self._containers()
        named = {guarded.named(containers, name).id for name in request.containers}
        found = guarded.find(containers, self._host.config, also=named)
        chosen = [
            member
            for member in found.members
            if (member.container.id in named if named else member.container.running)
        ]
        with self._claims.claim([member.container for member in chosen], "snapshot"):
            caller.accept()
            results = self._taken(Purpose.SNAPSHOT, found.graph, chosen, request, caller)
        for member in chosen:
            retention.tidy(self._host, member.container.id)
        return results

    def _depart(self, request: Request, caller: Caller) -> list[Result]:
        """Give containers, guarded or not, to another host; the one who asks brings them there."""
        containers = self._containers()
        named = {guarded.named(containers, name).id for name in request.containers}
        found = guarded.find(containers, self._host.config, also=named)
        chosen = [member for member in found.members if member.container.id in named]
        move = request.move
        with self._claims.claim([member.container for member in chosen], "migration"):
            caller.accept()
            results = checkpoint(
                self._host,
                found.graph,
                chosen,
                purpose=Purpose.SUSPEND,
                by_person=True,
                budget=Budget(self._host.config.checkpoint_budget + move.limit),
                say=caller.say,
                given_up=goes_on,
                departure=Departure(
                    move.id, move.host, move.limit, caller, frozenset(map(address, move.addresses))
                ),
            )
            pending.until_noticed(results)
            gone = [result for result in results if result.outcome == Outcome.MOVED]
            ledger = self._host.ledger
            peers.farewell(item for result in gone if (item := ledger.elsewhere(result.container_id)))
        return results

    def _arrive(self, request: Request, caller: Caller) -> list[Result]:
        """Restore what another host still has, up to where it could run: its scripts wait for that host's word."""
        containers = self._containers()
        chosen = [guarded.named(containers, name) for name in request.containers]
        with self._claims.claim(chosen, "migration"):
            caller.accept()
            ids = [item.id for item in chosen]
            ready, results = pending.sort_out(self._host, containers, ids, say=caller.say, arriving=True)
            alone = build([], [])  # they stood still together: nobody waits
            stopping = self._watch.engine_stop.under_way()
            return results + restore(
                self._host, alone, ready, stopping=stopping, say=caller.say, coming=Coming(caller)
            )

    def _remove(self, request: Request, caller: Caller) -> list[Result]:
        if not request.containers:
            raise BadInput("no checkpoint is named")
        return checkpoints.delete(self._host, request.containers, say=caller.say)

    def _restore(self, request: Request, caller: Caller) -> list[Result]:
        containers = self._containers()
        found = guarded.find(containers, self._host.config)
        names = request.containers
        chosen = [guarded.named(containers, name) for name in names]
        for container in chosen:
            engine_cycle.refuse_restore(self._host, container)
            user_stop.take_back(self._host, container.id)
        ids = [item.id for item in chosen] or sorted({item.container_id for item in self._host.ledger.all()})
        with self._claims.claim([item for item in containers if item.id in ids], "restore"):
            caller.accept()
            ready, results = pending.sort_out(self._host, containers, ids, say=caller.say)
            stopping = self._watch.engine_stop.under_way()
            return results + restore(self._host, found.graph, ready, stopping=stopping, say=caller.say)

    def _release(self, request: Request, caller: Caller) -> list[Result]:
        containers = self._containers()
        chosen = [guarded.named(containers, name) for name in request.containers]
        if not request.containers:
            chosen = [item for item in containers if gate.held(item.id)]
        with self._claims.claim(chosen, "release"):
            release.refuse(self._host, chosen, force=request.force)
            caller.accept()
            return release.release(self._host, chosen, start=request.start, say=caller.say)

    def _refuse_unknown(self, errand: Errand) -> None:
        """What an errand is about must be there; raises UnknownContainer or NoCheckpoint at once."""
        if errand.call is Call.MIGRATE and errand.names:
            containers = self._containers()
            for name in errand.names:
                guarded.named(containers, name)
        if errand.call is Call.EXPORT:
            (name,) = errand.names
            with contextlib.suppress(UnknownContainer, EngineUnavailable):
                if "@" not in name and guarded.named(self._containers(), name).running:
                    return
            checkpoints.find(self._host.ledger, name)

    def _list(self) -> list[dict[str, Any]]:
        try:
            containers = self._containers()
        except EngineUnavailable:
            containers = [*facts.kept(), *self._host.ledger.waiting()]
        return overview(self._host, containers)

    def _find(self, request: Request) -> list[dict[str, Any]]:
        """The containers that are named, as far as there are any."""
        found = []
        try:
            containers = self._containers()
            for name in request.containers:
                with contextlib.suppress(UnknownContainer):
                    container = guarded.named(containers, name)
                    found.append({"id": container.id, "name": container.name, "running": container.running})
        except EngineUnavailable:
            return []
        return found

    def _containers(self) -> list[Container]:
        """Never asks a dockerd whose process is gone: docker.socket would take the question and not answer."""
        if not docker_daemon.running_pid():
            raise EngineUnavailable("dockerd is not running", hint="systemctl start docker")
        with contextlib.closing(Engine()) as engine:
            return engine.containers(self._claims.claimed())


def main() -> int:
    """Entry point of guardian-worker.service, and of `ask` with a word: nothing where a worker lives."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) > 1 and not sole.at_once():
        return 0
    sole.wait()
    begun = time.monotonic()
    try:
        config = load_config()
    except BadInput as error:
        log.error("%s; the defaults are used", error)
        config = from_mapping({}, source="defaults")
    logging.getLogger().setLevel(LEVELS[config.log_level])
    runc.warm()
    criu_cpu.warm()
    log.info("guardian %s, ready after %.2f s", __version__, time.monotonic() - begun)
    Worker(config).run()
    return 0
