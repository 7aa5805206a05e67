"""Restore: tickets in the order of the old addresses, gates in the order of the graph, cold start where it fails."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from guardian.host import connections, criu_config, docker_daemon, durable, facts, gate, manifest, proc, runc
from guardian.host.announcements import Announcements
from guardian.host.cgroup import Cgroup
from guardian.host.docker_engine import Engine
from guardian.host.ledger import Checkpoint
from guardian.host.record import Record
from guardian.model.container import Container
from guardian.model.errors import EngineUnavailable, GuardianError
from guardian.model.graph import Graph, address_order
from guardian.model.labels import Condition
from guardian.model.outcome import Outcome, Result
from guardian.model.states import State
from guardian.work import peers, retention, script
from guardian.work.checkpoint import line
from guardian.work.cold import cold, set_aside, waits
from guardian.work.coming import Coming
from guardian.work.host import Host, Say
from guardian.work.placeholders import Placeholders
from guardian.work.settle import note_state

_KILL_LIMIT = 30.0
_HEALTH_INTERVAL = 0.5
_GATE_INTERVAL = 0.2
_AT_WORK = ("criu", "runc", "guardian-holder")
_SURE = 4
"""Looks after which processes without one of these are what a killed CRIU has left."""
_ADDRESS_GONE = "Cannot assign requested address"
_RESTORE_FAILED = "restore failed (status"
"""What runtime/restore.c says where `runc restore` has ended within its time."""

log = logging.getLogger("guardian.restore")


@dataclasses.dataclass(frozen=True)
class Pending:
    """A checkpoint and the container it belongs to, as both are now."""

    checkpoint: Checkpoint
    record: Record
    container: Container


def restore(
    host: Host,
    graph: Graph,
    pending: Sequence[Pending],
    *,
    stopping: threading.Event,
    say: Say,
    coming: Coming | None = None,
) -> list[Result]:
    """Resume the containers; each ends resumed, cold or failed, with its hold lifted. Returns one result for each.

    Once `stopping` is set, or when dockerd goes away, what has not run yet is `skipped` and keeps its hold. Where the
    images are still `coming`, dockerd is asked at once, and CRIU once they are there.
    """
    return _Restore(host, graph, pending, stopping, say, coming).run() if pending else []


class _Restore:
    def __init__(
        self,
        host: Host,
        graph: Graph,
        pending: Sequence[Pending],
        stopping: threading.Event,
        say: Say,
        coming: Coming | None,
    ) -> None:
        self._coming = coming
        self._host = host
        self._stopping = stopping
        self._graph = graph
        self._pending: Mapping[str, Pending] = {item.container.id: item for item in pending}
        self._say = say
        self._done = {container_id: threading.Event() for container_id in self._pending}
        self._results: dict[str, Result] = {}
        self._end = time.monotonic() + host.config.restore_budget

    def run(self) -> list[Result]:
        order = address_order([item.record.container for item in self._pending.values()])
        announcements = Announcements()
        threads = []
        try:
            with Placeholders(announcements) as placeholders:
                for container_id in order:
                    if self._stopping.is_set() or not docker_daemon.running_pid():
                        self._leave(container_id)
                        continue
                    item = self._pending[container_id]
                    placeholders.make_way(item.record, item.checkpoint)
                    one = _Start(self._host, item, self._come_back, self._coming)
                    one.begin()
                    # Whoever comes next takes the next address: only a dockerd that hangs may cost the order.
                    announcements.wait(container_id, one.ended, limit=self._left())
                    thread = threading.Thread(target=self._finish, args=(one,), name=one.container.name)
                    thread.start()
                    threads.append(thread)
            for thread in threads:
                thread.join()
        finally:
            announcements.close()
        return [self._results[container_id] for container_id in order]

    def _leave(self, container_id: str) -> None:
        """dockerd is going away: what was not begun stays in the ledger, held."""
        item = self._pending[container_id]
        self._results[container_id] = waits(item.container, item.checkpoint)
        self._done[container_id].set()

    def _finish(self, one: _Start) -> None:
        """The rest of one container's way, in a thread of its own."""
        container_id = one.container.id
        try:
            self._wait_for_dependencies(container_id)
            result = one.finish(self._left())
        except Exception as error:  # whatever went wrong, the hold must end and the dependents go on
            log.exception("%s", one.container.name)
            result = one.start_cold(f"restore failed: {error}", self._left())
        self._results[container_id] = result
        retention.tidy(self._host, container_id)
        self._say(line(result))
        self._done[container_id].set()

    def _come_back(self) -> set[str]:
        """The names of the containers that are back, or still expected."""
        away = (Outcome.RESUMED, None)
        outcomes = {
            key: self._results[key].outcome if key in self._results else None for key in self._pending
        }
        names = {self._pending[key].container.name for key, outcome in outcomes.items() if outcome in away}
        if any(item.checkpoint.travel() is not None for item in self._pending.values()):
            return names  # a container of this host is another one, though it may have a peer's name
        return names | {container.name for container in facts.kept()}

    def _wait_for_dependencies(self, container_id: str) -> None:
        for edge in self._graph.dependencies(container_id):
            done = self._done.get(edge.target)
            if done is not None:
                done.wait(self._left())
            if edge.condition is Condition.HEALTHY:
                self._wait_for_health(edge.target)

    def _wait_for_health(self, container_id: str) -> None:
        """Ask the health check at once and until it agrees: dockerd's own would wait an interval first."""
        end = time.monotonic() + min(self._host.config.health_timeout, self._left())
        never = threading.Event()
        try:
            with contextlib.closing(Engine()) as engine:
                container = engine.container(container_id)
                while container.running and not engine.healthy(container) and time.monotonic() < end:
                    never.wait(_HEALTH_INTERVAL)
        except GuardianError as error:
            log.warning("%s: its health cannot be asked: %s", container_id[:12], error)

    def _left(self) -> float:
        return max(1.0, self._end - time.monotonic())


class _Start:
    """One container's `docker start` with a ticket. `ended` is a descriptor, readable when dockerd has answered."""

    def __init__(
        self, host: Host, pending: Pending, come_back: Callable[[], set[str]], coming: Coming | None
    ) -> None:
        self.container = pending.container
        self._host = host
        self._checkpoint = pending.checkpoint
        self._record = pending.record
        self._come_back = come_back
        self._coming = coming
        self._error = ""
        self._damage = ""
        self._log = pending.checkpoint.folder / "work-restore" / "restore.log"
        self._engine_gone = False
        self._without_criu = 0
        self._begun = time.monotonic()
        self._thread: threading.Thread | None = None
        self.ended = -1

    def begin(self) -> None:
        """Give the ticket and say `docker start`, in a thread."""
        self._error = ""
        self._without_criu = 0
        try:
            self._checkpoint.mark(State.TICKETED)
            gate.clear_holder(self.container.id)
            gate.give(self._ticket())
        except OSError as error:
            self._error = f"the ticket cannot be written: {error}"
        self.ended, writer = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(
            target=self._start, args=(writer,), name=f"start-{self.container.name}"
        )
        self._thread.start()

    def finish(self, left: float) -> Result:
        """Let it run, and look what came of it."""
        notes = [self._let_run(addresses_kept=True)]
        if self._error and self._checkpoint.intact() and (self._address_is_gone() or self._was_killed()):
            kept = not self._address_is_gone()
            self._end_half_restored()
            self.begin()
            notes = [self._let_run(addresses_kept=kept)]
        if self._waits_for_another_engine():
            self._end_half_restored()
            if self._checkpoint.intact():
                return waits(self.container, self._checkpoint)
        if self._checkpoint.elsewhere():
            return self._not_given_up()
        if _RESTORE_FAILED in self._error:
            self._end_half_restored()
        if self._error or State.SPENT.value not in self._checkpoint.marks():
            return self.start_cold(self._reason(), left)
        note_state(self._checkpoint, State.RUNNING)
        if self._record.container.paused:
            self._pause()
        gate.lift(self.container.id)
        note_state(self._checkpoint, State.DONE)
        notes += [*self._checkpoint.remarks(), self._keep_facts(), connections.failure(self._checkpoint)]
        return self._keep(Outcome.RESUMED, "; ".join(note for note in notes if note))

    def start_cold(self, reason: str, left: float) -> Result:
        """Start the container anew; its checkpoint is kept as an orphan. The hold ends either way."""
        if self._checkpoint.elsewhere():
            return self._not_given_up()
        if not gate.restored(self.container.id):
            gate.clear_holder(self.container.id)  # dockerd waits for it where we have failed in the middle
        return self._keep(*cold(self.container, set_aside(self._checkpoint, reason), left))

    def _not_given_up(self) -> Result:
        """The host that it comes from has not said its word: nothing has run, and it may still run there."""
        self._end_half_restored()
        gate.hold_arriving(self.container.id, self._checkpoint.folder)
        reason = f"its move here is undecided: {self._reason()}"
        return Result(
            self.container.id, self.container.name, Outcome.SKIPPED, reason, 0.0, self._checkpoint.id
        )

    def _end_half_restored(self) -> None:
        """Nobody answers for the container any more: end its holder, and what CRIU may have made."""
        gate.clear_holder(self.container.id)
        if self._checkpoint.intact() or runc.state(self.container.id) is None:  # else it may run
            Cgroup(Path(self._record.cgroup)).kill(limit=_KILL_LIMIT)
            runc.forget(self.container.id, self._checkpoint.folder)

    def _waits_for_another_engine(self) -> bool:
        """dockerd went away and nothing has run: hold and ledger stay, the next dockerd's restore takes it up."""
        gone = self._engine_gone or (self._error and not docker_daemon.running_pid())
        return bool(gone) and self._checkpoint.intact()

    def _let_run(self, *, addresses_kept: bool) -> str:
        """Open the gate and wait for dockerd's answer; returns what is to be said of the connections."""
        assert self._thread is not None
        close, said = peers.prepare(
            self._host.config,
            self._checkpoint,
            self._record,
            self._come_back(),
            addresses_kept=addresses_kept,
        )
        configuration = criu_config.restore(skip_lock=runc.network_lock_skip(), close_connections=close)
        durable.write(self._checkpoint.folder / "restore.conf", configuration)
        # Beside dockerd, which is at its start meanwhile.
        good = (self._coming is None or self._coming.complete()) and not self._look_at_images()
        if not self._error and good:
            note_state(self._checkpoint, State.RESTORING)
        while self._thread.is_alive():
            # Again and again: dockerd may not have come to `create` yet, and then there is no gate to open.
            if good:
                gate.open_gate(self.container.id)
            else:
                gate.withdraw(self.container.id)
                gate.clear_holder(self.container.id)
            self._thread.join(_GATE_INTERVAL)
            self._watch_criu()
        os.close(self.ended)
        self._error = self._damage or self._error
        return said

    def _watch_criu(self) -> None:
        """End what a killed CRIU leaves, in whose cgroup it was: runc would wait for it until its time is over."""
        cgroup = Cgroup(Path(self._record.cgroup))
        names = [seen.name for pid in cgroup.pids() if (seen := proc.stat(pid)) is not None]
        at_work = not names or any(name.startswith(_AT_WORK) for name in names)
        self._without_criu = 0 if at_work else self._without_criu + 1
        if self._without_criu >= _SURE and State.SPENT.value not in self._checkpoint.marks():
            cgroup.kill(limit=_KILL_LIMIT)

    def _look_at_images(self) -> str:
        """What is wrong with them, by their hashes; once, and where they were hashed (a shutdown may cut that off)."""
        if self._host.config.verify and not self._damage and manifest.is_there(self._checkpoint):
            try:
                # What lies beside them costs less than the memory: connections, say, which are closed then.
                manifest.verify(self._checkpoint, below=manifest.IMAGES)
            except (GuardianError, OSError) as error:
                self._damage = f"its images are not what they were: {error}"
        return self._damage

    def _start(self, writer: int) -> None:
        try:
            if not self._error:
                with contextlib.closing(Engine()) as engine:
                    engine.start(self.container.id, limit=self._limit())
                    self._wait_for_proof(engine)
        except EngineUnavailable as error:
            self._error, self._engine_gone = str(error), True
        except GuardianError as error:
            self._error = str(error)
        finally:
            gate.withdraw(self.container.id)
            os.close(writer)

    def _wait_for_proof(self, engine: Engine) -> None:
        """dockerd says "already started" also while an attempt of its own is under way, which takes the ticket as well.

        Asked again, it says what became of that: running, or refused because the ticket is used.
        """
        end = time.monotonic() + self._host.config.restore_timeout
        never = threading.Event()
        while State.SPENT.value not in self._checkpoint.marks() and time.monotonic() < end:
            never.wait(_GATE_INTERVAL)
            engine.start(self.container.id, limit=self._limit())

    def _limit(self) -> float:
        return self._host.config.restore_budget + self._host.config.restore_timeout

    def _ticket(self) -> gate.Ticket:
        return gate.Ticket(
            container_id=self.container.id,
            checkpoint=self._checkpoint.folder,
            cgroup=self._record.cgroup,
            own_network=self._record.own_network,
            oom_score_adj=self._record.oom_score_adj,
            gate_seconds=int(self._host.config.restore_budget),
            restore_seconds=int(self._host.config.restore_timeout),
            flags=runc.restore_flags(),
        )

    def _address_is_gone(self) -> bool:
        return _ADDRESS_GONE in self._criu_error()

    def _was_killed(self) -> bool:
        """Nothing is wrong with its image: CRIU, runc or the script was killed over it."""
        return (
            _RESTORE_FAILED in self._error
            and script.was_killed(self._log)
            and not self._checkpoint.elsewhere()
        )

    def _criu_error(self) -> str:
        return runc.first_error(self._log)

    def _reason(self) -> str:
        if not self._error:
            return "dockerd says started, and no proof of a restore is there"
        return f"{self._error}: {self._criu_error()}" if self._criu_error() else self._error

    def _keep_facts(self) -> str:
        """At once, not by its event: the host may go down before that is heard. Returns what is to be said."""
        try:
            with contextlib.closing(Engine()) as engine:
                now = engine.container(self.container.id)
            facts.keep(now)
            return peers.moved(self._record, now)
        except (GuardianError, OSError) as error:
            log.error("%s: its facts cannot be kept: %s", self.container.name, error)
            return ""

    def _pause(self) -> None:
        try:
            with contextlib.closing(Engine()) as engine:
                engine.pause(self.container.id)
        except GuardianError as error:
            log.error("%s: it was paused and cannot be paused again: %s", self.container.name, error)

    def _keep(self, outcome: Outcome, reason: str) -> Result:
        seconds = time.monotonic() - self._begun
        result = Result(self.container.id, self.container.name, outcome, reason, seconds, self._checkpoint.id)
        try:
            self._checkpoint.set_result(result)
        except OSError as error:
            log.error("%s: the result cannot be written: %s", self.container.name, error)
        return result
