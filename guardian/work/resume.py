"""One container's resume: `docker start` with a ticket, its gate, one more try, a cold start where nothing helps."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from guardian.host import (
    connections,
    criu_config,
    docker_daemon,
    gate,
    manifest,
    proc,
    runc,
    who_asks,
)
from guardian.host.cgroup import Cgroup
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine
from guardian.host.record import Record
from guardian.model.container import Container
from guardian.model.errors import EngineUnavailable, GuardianError
from guardian.model.outcome import Outcome, Result
from guardian.model.states import State
from guardian.work import hooks, peers, running
from guardian.work.cold import MAY_HAVE_RUN, cold, set_aside, waits
from guardian.work.coming import Coming
from guardian.work.hooks import Event
from guardian.work.host import Host
from guardian.work.settle import detach, note_result, note_state

_KILL_LIMIT = 30.0
_GATE_INTERVAL = 0.2
_SOON = 30.0
"""Seconds after which a restore that failed is not tried again."""
_ADDRESS_GONE = "Cannot assign requested address"
_STARTED_TOO_SOON = "it was resumed, ended and was started since, without guardian, while it was still held"
_AT_WORK = ("criu", "runc", "guardian-holder")
_SURE = 4
"""Looks after which processes without one of these are what a killed CRIU has left."""
_RESTORE_FAILED = "restore failed (status"
"""What runtime/restore.c says where `runc restore` has ended within its time."""

log = logging.getLogger("guardian.restore")


@dataclasses.dataclass(frozen=True)
class Pending:
    """A checkpoint and the container it belongs to, as both are now; `cold` is why it is not restored, or empty."""

    checkpoint: Checkpoint
    record: Record
    container: Container
    cold: str = ""


class Resume:
    """One container's `docker start` with a ticket. `ended` is a descriptor, readable when dockerd has answered."""

    def __init__(
        self, host: Host, pending: Pending, come_back: Callable[[], set[str]], coming: Coming | None
    ) -> None:
        self.container = pending.container
        self._host = host
        self._checkpoint = pending.checkpoint
        self._record = pending.record
        self._come_back, self._coming = come_back, coming
        self._error = self._damage = ""
        self._engine_gone, self._without_criu = False, 0
        self._begun = time.monotonic()
        self._thread: threading.Thread | None = None
        self.ended = -1

    def begin(self, left: float) -> None:
        """Give the ticket and say `docker start`, in a thread; what is not back once `left` is over is ended."""
        self._error, self._without_criu = "", 0
        try:
            self._checkpoint.mark(State.TICKETED)
            gate.clear_holder(self.container.id)
            gate.give(self._ticket(left))
        except OSError as error:
            self._error = f"the ticket cannot be written: {error}"
        self.ended, writer = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(
            target=self._start, args=(writer,), name=f"start-{self.container.name}"
        )
        self._thread.start()

    def finish(self, left: float) -> Result:
        """Let it run, and look what came of it."""
        begun = time.monotonic()
        notes = [self._let_run(addresses_kept=True)]
        if self._worth_another_try(seconds=time.monotonic() - begun, left=left):
            first, kept, error = self._reason(), not self._address_is_gone(), self._error
            self._end_half_restored()
            self.begin(left - (time.monotonic() - begun))
            notes = [self._let_run(addresses_kept=kept)]
            if gate.REFUSAL in self._error:
                # dockerd's own restart came before and took the ticket. Where it came through the container runs.
                limit = self._host.config.restore_timeout
                self._error = "" if gate.await_restored(self.container.id, limit=limit) else error
            elif not self._error and not self._proven():
                self._error = error  # that restart hangs as the first attempt did
            if kept:
                notes.append(f"at the second attempt; the first: {first}")
        if self._proven() and (not self._error or self._runs_all_the_same()):
            notes.append(self._error)
            return self._resumed(notes)
        if self._engine_went_away():
            return self._without_engine()
        if self._checkpoint.elsewhere():
            return self._not_given_up()
        reason = self._reason()
        if self._proven():
            self._end_restored()  # dockerd would not know it
        elif _RESTORE_FAILED in self._error:
            self._end_half_restored()
        else:
            detach(self._checkpoint)  # what is of a CRIU that was killed because it hung
        return self.start_cold(reason, left)

    def _runs_all_the_same(self) -> bool:
        return gate.restored(self.container.id) and running.known_to_dockerd(self.container.id)

    def _resumed(self, notes: list[str]) -> Result:
        """It runs: whatever fails from here on is only told."""
        gate.lift(self.container.id)  # at once: a restart by its user, or by its policy, would be refused
        notes.append(self._mark(State.RUNNING))
        if self._record.container.paused:
            running.pause(self.container)
        failed = connections.failure(gate.restore_folder(self.container.id))
        now = running.look(self._record.container)
        running.keep_facts(now)
        moved = peers.moved(self._record, now)
        notes += [self._mark(State.DONE), *self._checkpoint.remarks(), moved, failed]
        if not now.running and gate.REFUSAL in now.error:
            return self._keep(*cold(self.container, _STARTED_TOO_SOON))
        notes.append(hooks.tell_container(self._host.config, self._record.container, str(Outcome.RESUMED)))
        return self._keep(Outcome.RESUMED, "; ".join(note for note in notes if note))

    def _mark(self, state: State) -> str:
        try:
            self._checkpoint.mark(state)
        except OSError as error:
            return f"{state.value} cannot be written down: {error}"
        return ""

    def _worth_another_try(self, *, seconds: float, left: float) -> bool:
        """Whether it failed of what may have passed: nothing has run, its images are good, and it did not take long.

        Once: what is busy, killed or out of memory now may not be then; what is broken fails as fast again. The other
        host of a move waits, so there only for addresses that are not there.
        """
        if not self._error or self._damage or self._engine_went_away() or not self._checkpoint.intact():
            return False
        return self._address_is_gone() or (
            not self._checkpoint.elsewhere() and seconds < _SOON and 2 * max(seconds, 1.0) < left
        )

    def start_cold(self, reason: str, left: float) -> Result:
        """Start the container anew; its checkpoint is kept as an orphan. The hold ends either way."""
        if self._checkpoint.elsewhere():
            return self._not_given_up()
        if not docker_daemon.running_pid():
            return waits(self.container, self._checkpoint)
        if not gate.restored(self.container.id):
            gate.clear_holder(self.container.id)  # dockerd waits for it where we have failed in the middle
        return self._keep(*cold(self.container, set_aside(self._checkpoint, reason), left))

    def abandon(self) -> None:
        """Nothing may wait for its gate any more: dockerd's start of it ends, and another one can begin."""
        gate.withdraw(self.container.id)
        gate.clear_holder(self.container.id)
        if self._thread is not None:
            self._thread.join(_KILL_LIMIT)
        if self.ended >= 0:
            os.close(self.ended)
            self.ended = -1

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
        if self._checkpoint.intact() or runc.state(self.container.id) is None:  # else it may run
            self._end_restored()
        else:
            gate.clear_holder(self.container.id)
            detach(self._checkpoint)

    def _end_restored(self) -> None:
        """The same, whether it runs or not."""
        gate.clear_holder(self.container.id)
        try:
            Cgroup(Path(self._record.cgroup)).kill(limit=_KILL_LIMIT)
            runc.forget(self.container.id)
        except (GuardianError, OSError) as error:
            log.error("%s: what was restored of it cannot be ended: %s", self.container.name, error)
        detach(self._checkpoint)

    def _engine_went_away(self) -> bool:
        """Nobody waits for the answer any more, and a cold start would wait for a dockerd whose start waits for us."""
        return self._engine_gone or bool(self._error and not docker_daemon.running_pid())

    def _without_engine(self) -> Result:
        """Hold and ledger stay. What runs is saved with all others; the rest is sorted out by the next dockerd."""
        container, checkpoint = self.container, self._checkpoint
        under_way = self._proven() or runc.is_restoring(container.id)
        if under_way and gate.await_restored(container.id, limit=gate.RUNS_SOON) and self._proven():
            reason = "dockerd went away over its restore; it runs, and is saved before the next one starts"
            return Result(container.id, container.name, Outcome.SKIPPED, reason, 0.0, checkpoint.id)
        if self._proven():
            self._end_restored()
        else:
            self._end_half_restored()
        return waits(container, checkpoint)

    def _let_run(self, *, addresses_kept: bool) -> str:
        """Open the gate and wait for dockerd's answer; returns what is to be said of the connections."""
        assert self._thread is not None
        said, good = "", False
        # Beside dockerd, which is at its start meanwhile, and would wait there for the gate whatever fails here.
        try:
            said = self._prepare(addresses_kept=addresses_kept)
            good = (self._coming is None or self._coming.complete()) and not self._refusal()
            if not self._error and good:
                note_state(self._checkpoint, State.RESTORING)
        except (GuardianError, OSError) as error:
            self._error, good = f"its restore cannot be prepared: {error}", False
        preparation = self._error
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
        self.ended = -1
        self._error = self._damage or preparation or self._error
        return said

    def _watch_criu(self) -> None:
        """End what a killed CRIU leaves, in whose cgroup it was: runc would wait for it until its time is over."""
        cgroup = Cgroup(Path(self._record.cgroup))
        # Lazily: there may be thousands, and the first is CRIU's most of the time.
        names = (seen.name for pid in cgroup.pids() if (seen := proc.stat(pid)) is not None)
        first = next(names, None)
        at_work = first is None or any(name.startswith(_AT_WORK) for name in itertools.chain((first,), names))
        self._without_criu = 0 if at_work else self._without_criu + 1
        if self._without_criu >= _SURE and not self._proven():
            cgroup.kill(limit=_KILL_LIMIT)

    def _prepare(self, *, addresses_kept: bool) -> str:
        """Write what CRIU and the commit script read; returns what is to be said of the connections."""
        close, said = peers.prepare(
            self._host.config,
            self._checkpoint,
            self._record,
            self._come_back(),
            addresses_kept=addresses_kept,
        )
        configuration = criu_config.restore(skip_lock=runc.network_lock_skip(), close_connections=close)
        gate.put(gate.restore_folder(self.container.id) / "restore.conf", configuration)
        return said

    def _refusal(self) -> str:
        """Why its images must not be restored: what a hook says, or their hashes; looked at once.

        A shutdown may have cut their hashing off; then nothing is compared.
        """
        if not self._damage:
            limit = self._host.config.hook_timeout
            self._damage = hooks.refusal(
                self._host.config, self._record.container, Event.PRE_RESTORE, limit=limit
            )
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
                    engine.start(
                        self.container.id, limit=self._limit(), ahead=lambda: who_asks.note(self.container.id)
                    )
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
        while not self._proven() and time.monotonic() < end:
            never.wait(_GATE_INTERVAL)
            engine.start(self.container.id, limit=self._limit())

    def _proven(self) -> bool:
        """Whether its image was let run. With a note it was not: somebody has started the container from zero."""
        marks = self._checkpoint.marks()
        return State.SPENT.value in marks and not self._checkpoint.note(State.SPENT)

    def _limit(self) -> float:
        return self._host.config.restore_budget + self._host.config.restore_timeout

    def _ticket(self, left: float) -> gate.Ticket:
        return gate.Ticket(
            container_id=self.container.id,
            checkpoint=self._checkpoint.folder,
            cgroup=self._record.cgroup,
            own_network=self._record.own_network,
            oom_score_adj=self._record.oom_score_adj,
            gate_seconds=max(1, int(left)),
            restore_seconds=int(self._host.config.restore_timeout),
            flags=runc.restore_flags(),
        )

    def _address_is_gone(self) -> bool:
        return _ADDRESS_GONE in self._criu_error()

    def _criu_error(self) -> str:
        folders = (self._checkpoint.folder, gate.restore_folder(self.container.id))
        logs = [
            log for folder in folders if os.access(log := folder / "work-restore" / "restore.log", os.F_OK)
        ]
        return runc.first_error(max(logs, key=lambda log: log.stat().st_mtime)) if logs else ""

    def _reason(self) -> str:
        if not self._error:
            return "dockerd says started, and no proof of a restore is there"
        said = f"{self._error}: {self._criu_error()}" if self._criu_error() else self._error
        return f"{MAY_HAVE_RUN}: {said}" if self._proven() else said

    def _keep(self, outcome: Outcome, reason: str) -> Result:
        gate.clear_restore(self.container.id)
        seconds = time.monotonic() - self._begun
        result = Result(self.container.id, self.container.name, outcome, reason, seconds, self._checkpoint.id)
        hooks.tell_host(self._host.config, self.container, Event.POST_RESTORE, str(outcome), reason)
        note_result(self._checkpoint, result)
        return result
