"""One container's way through a checkpoint: freeze, lock, dump, durable, held, and what its end was."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from guardian.host import criu_config, durable, gate, netns, proc, runc, traits
from guardian.host.cgroup import Cgroup
from guardian.host.checkpoint import Checkpoint
from guardian.host.command import run
from guardian.host.record import Record
from guardian.model.container import Container
from guardian.model.errors import CannotSave, GuardianError
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Aftermath, Purpose, State, Verdict
from guardian.model.traits import GHOST_LIMIT
from guardian.model.wording import printable
from guardian.work import content, peers, script, staleness
from guardian.work.barrier import Barrier
from guardian.work.departure import Departure
from guardian.work.host import Budget, Host
from guardian.work.settle import KILL_LIMIT, decide_void, release_running, script_socket, settle, void
from guardian.work.slots import Rank, Slots

_FREEZE_LIMIT = 10.0
_EXEC_LIMIT = 3.0
_EXEC_GRACE = 1.0
_MOST_SECONDS = 1200.0
"""No wait is longer than a whole shutdown may take, whatever the budget."""

log = logging.getLogger("guardian.checkpoint")


@dataclasses.dataclass
class Times:
    """Monotonic seconds at which a step was reached, 0 where it was not; `syncing` is what syncfs and fsync took."""

    frozen: float = 0.0
    dumped: float = 0.0
    durable: float = 0.0
    ended: float = 0.0
    syncing: float = 0.0


class MemberCheckpoint:
    """One member's checkpoint. `give_up` may be called after any step and leaves the container running."""

    def __init__(
        self,
        host: Host,
        budget: Budget,
        container: Container,
        known: runc.RuncContainer,
        checkpoint: Checkpoint,
        departure: Departure | None = None,
    ) -> None:
        self.container = container
        self.checkpoint = checkpoint
        self.times = Times()
        self.reason = ""
        self.rank: Rank = ()
        self.aftermath: Aftermath | None = None
        self._host = host
        self._budget = budget
        self._known = known
        self._cgroup = Cgroup(known.cgroup)
        self._purpose = checkpoint.purpose()
        self._departure = departure
        self._decision: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def begin(
        cls,
        host: Host,
        budget: Budget,
        container: Container,
        *,
        purpose: Purpose,
        group: tuple[str, ...],
        by_person: bool,
        note: str = "",
        departure: Departure | None = None,
    ) -> MemberCheckpoint:
        """Write the record; raises CannotSave or StoreError with nothing touched."""
        known = runc.state(container.id)
        if known is None or not proc.alive(known.pid):
            raise CannotSave(f"{container.name} is not running")
        if traits.serves_files(Cgroup(known.cgroup).pids()):
            # Before anybody is frozen: who uses its files, CRIU and we among them, would wait for it for ever.
            raise CannotSave("it serves a FUSE file system", "CRIU cannot save /dev/fuse")
        record = Record(
            container=container,
            purpose=purpose,
            taken=time.time(),
            boot=proc.boot_id(),
            group=group,
            cgroup=str(known.cgroup),
            own_network=known.own_network,
            oom_score_adj=runc.oom_score_adj(known.bundle),
            by_person=by_person,
            note=note,
        )
        checkpoint = host.ledger.begin(record)
        content.note(checkpoint, container, known.pid)
        made = cls(host, budget, container, known, checkpoint, departure)
        if departure is not None:
            made._decision = checkpoint.depart(departure.move, departure.host)
        return made

    @property
    def root(self) -> Path:
        """The container's root as its init sees it: leads to the layer, whatever stores it."""
        return Path(f"/proc/{self._known.pid}/root")

    @property
    def failed(self) -> bool:
        """Whether it was given up."""
        return bool(self.reason)

    def end_execs(self) -> None:
        """Refuse `docker exec` from now on and wait for what runs; what does not end by itself is ended and named.

        Raises CannotSave for a snapshot, which must end nothing.
        """
        gate.forbid_exec(self.container.id, self.checkpoint.folder)
        strangers = self._strangers(limit=_EXEC_LIMIT)
        if not strangers:
            return
        names = ", ".join(sorted({seen.name for pid in strangers if (seen := proc.stat(pid)) is not None}))
        if self._purpose is Purpose.SNAPSHOT:
            raise CannotSave("a docker exec session runs in it", printable(names))
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
            for pid in strangers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            strangers = self._strangers(limit=_EXEC_GRACE)
            if not strangers:
                break
        self.checkpoint.remark(f"a docker exec session was ended: {printable(names)}")

    def freeze(self) -> None:
        """Freeze every process, write down what is frozen; raises GuardianError, then thawed again."""
        strangers = self._strangers(limit=_EXEC_GRACE)
        if strangers:
            raise CannotSave("a process in it is none of its own", f"pid {strangers[0]}")
        self._cgroup.freeze(limit=_FREEZE_LIMIT)
        self.times.frozen = time.monotonic()
        self._mark(State.FROZEN)
        self._describe()

    def lock(self) -> None:
        """Lock the network namespace, where the container has one of its own."""
        if self._known.own_network:
            netns.lock(self._known.pid)
        self._mark(State.LOCKED)

    def note_peers(self, around: Sequence[Container], down: Sequence[Container]) -> None:
        """Write down its connections, keep their peers from hearing of its absence.

        `around` is its group, `down` who waits to be restored: a dump that is tried once more has connections to them.
        """
        fenced = peers.note(
            self._host.config,
            self.checkpoint,
            self.container,
            around,
            down,
            init=self._known.pid,
            pids=self._cgroup.pids(),
            own_network=self._known.own_network,
            away=self._purpose is Purpose.SUSPEND
            and (self._departure is None or bool(self._departure.moving)),
            moving=self._departure.moving if self._departure is not None else None,
        )
        network = 0
        if self._known.own_network and not self._known.network_is_path:
            network = proc.inode(f"/proc/{self._known.pid}/ns/net")
        configuration = criu_config.dump(
            ghost_limit=GHOST_LIMIT,
            external_network=network,
            own_lock=self._known.own_network or fenced,
            skip_lock=runc.network_lock_skip(),
        )
        durable.write(self.checkpoint.folder / "dump.conf", configuration)

    def dump(self, slots: Slots, dumped: Barrier, held: Barrier, writable: set[str]) -> None:
        """Dump and commit with the group. What fails becomes `reason`; else `aftermath` is set."""
        try:
            try:
                self._dump(slots, dumped, held, writable)
            except (GuardianError, OSError) as error:
                self.reason = self.reason or str(error)
        finally:
            if self._departure is not None:
                self._departure.give_up(self.container.id)
            dumped.give_up(self.container.id)
            held.give_up(self.container.id)
            try:
                self._end_dump()
            except (GuardianError, OSError) as error:
                log.exception("%s", self.container.name)
                self.reason = self.reason or str(error)

    def give_up(self, reason: str) -> None:
        """Void the record and let the container go on as if nothing had been; its dump has not begun."""
        self.reason = self.reason or reason
        try:
            decide_void(self.checkpoint)
        finally:
            self.go_on()  # whatever the store says: there is no script that could have committed

    def go_on(self) -> None:
        """Heal, unlock, thaw: each where it is needed, so that it can be repeated."""
        void(self.checkpoint, self.reason)
        release_running(self._known, self.container, self.checkpoint)

    def _mark(self, state: State) -> None:
        """Reach a state, durably; what fsync takes is counted apart."""
        begun = time.monotonic()
        self.checkpoint.mark(state)
        self.times.syncing += time.monotonic() - begun

    def _strangers(self, *, limit: float) -> list[int]:
        """Processes in the cgroup and not below init, `docker exec` and health checks, once `limit` is over."""
        end = time.monotonic() + limit
        while True:
            family = {self._known.pid, *proc.descendants(self._known.pid)}
            found = [pid for pid in self._cgroup.pids() if pid not in family]
            left = end - time.monotonic()
            if not found or left <= 0:
                return found
            proc.wait_for_exit(found[0], limit=left)

    def _describe(self) -> None:
        """Write what the action script and the restore need, while everything stands still."""
        folder = self.checkpoint.folder
        tasks, init = [], proc.stat(self._known.pid)
        if init is None:
            raise CannotSave("its init has ended")
        for pid in self._cgroup.pids():
            seen = proc.stat(pid)
            if seen is not None and seen.state not in "ZX":
                tasks.append(f"{pid} {seen.started}\n")
        limit = int(self._budget.left(at_most=_MOST_SECONDS)) + 1
        durable.write(folder / "tasks", "".join(tasks))
        durable.write(folder / "proof", f"{init.start_code} {init.start_stack} {init.start_brk}\n")
        text = f"cgroup={self._known.cgroup}\nsocket={self._socket}\nlimit={limit}\n"
        if self._decision is not None:
            text += f"decision={self._decision}\n"
        durable.write(folder / "script", text)

    @property
    def _socket(self) -> Path:
        return script_socket(self.checkpoint)

    def _dump(self, slots: Slots, dumped: Barrier, held: Barrier, writable: set[str]) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            self._socket.unlink(missing_ok=True)
            listening.bind(str(self._socket))
            listening.listen(1)
            if not slots.acquire(self.rank, limit=self._budget.left(at_most=_MOST_SECONDS)):
                raise CannotSave("no time was left in the budget for its dump")
            try:
                self._process = runc.start_dump(
                    self._known,
                    self.container.id,
                    self.checkpoint.folder,
                    self.checkpoint.folder / "work" / "runc.log",
                    leave_running=self._purpose is Purpose.SNAPSHOT,
                )
                limit = self._budget.left(at_most=self._host.config.container_timeout)
                asking = script.await_image(
                    self._process, listening, self.checkpoint.folder / "work", limit=limit
                )
            finally:
                slots.release()
        with asking:
            self.times.dumped = time.monotonic()
            self._mark(State.DUMPED)
            word = Verdict.VOID
            try:
                dumped.arrive(self.container.id)
                self._pass(dumped)
                if self._purpose is Purpose.SNAPSHOT:
                    content.keep_files(self.checkpoint)
                elif self._departure is not None:
                    self._hand_over(self._departure)
                else:
                    self._make_durable(writable)
                self._pass(held)
                word = Verdict.COMMIT
            finally:
                self._tell(asking, word)
                if self._departure is not None:
                    self._hear_verdict(self._departure, asking)

    def _tell(self, asking: socket.socket, word: Verdict) -> None:
        try:
            asking.sendall(f"{word.value}\n".encode())
        except OSError:
            if word is Verdict.COMMIT:
                self.reason = self.reason or "its commit script ended too early, it or CRIU was killed"

    def _hand_over(self, departure: Departure) -> None:
        """Nothing of it need be durable here: until the commit it is a container that a power cut would end as well."""
        gate.hold_departing(self.container.id, self.container.name, self.checkpoint.folder, departure.host)
        self._mark(State.HELD)
        departure.hand_over(self.container.id)
        self.times.durable = time.monotonic()

    def _hear_verdict(self, departure: Departure, asking: socket.socket) -> None:
        """The script has decided when it ends; CRIU's kill need not be waited for by who waits for the verdict."""
        asking.settimeout(KILL_LIMIT)
        with contextlib.suppress(OSError):
            asking.recv(1)
        departure.decided(self.checkpoint)

    def _pass(self, barrier: Barrier) -> None:
        """Wait for the others; each of them has a limit of its own, so the barrier needs only the job's."""
        barrier.arrive(self.container.id)
        if not barrier.wait(limit=self._budget.left(at_most=_MOST_SECONDS)):
            raise CannotSave("another member of its group was given up", "its group is all-or-nothing")

    def _make_durable(self, writable: set[str]) -> None:
        """Files first, then the image: memory must not be newer than the files it belongs to."""
        staleness.note(self.checkpoint, self.container, self._known.pid, self._cgroup.pids())
        begun = time.monotonic()
        for path in sorted(writable):
            run(["sync", "--file-system", path], limit=self._host.config.sync_timeout)
        # In a child of its own: the store may hang, and only a child can be left behind.
        image = self.checkpoint.folder / "img"
        for files in _portions([*image.iterdir(), image]):
            run(["sync", *files], limit=self._host.config.sync_timeout)
        self.times.syncing += time.monotonic() - begun
        self._mark(State.DURABLE)
        gate.hold(self.container.id, self.container.name, self.checkpoint.folder)
        self._mark(State.HELD)
        self.times.durable = time.monotonic()

    def _end_dump(self) -> None:
        """Wait for runc, or end CRIU, then look at what is there: exit codes decide nothing."""
        process, limit = self._process, 5.0 if self.failed else KILL_LIMIT
        if process is not None:
            try:
                process.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                self._end_criu(process)
            runc.await_criu(self.checkpoint.folder, self._cgroup, limit=limit)
        reason = self.reason or script.why(self.checkpoint.folder / "work", "the dump was rolled back")
        self.aftermath = settle(self.checkpoint, self._known, self.container, reason)
        if self.aftermath is not Aftermath.HELD and self._purpose is Purpose.SUSPEND:
            self.reason = reason
        self.times.ended = time.monotonic()
        self._keep_times()

    def _keep_times(self) -> None:
        """Beside the images, for benchmarks and `stats`; not part of the record, so its loss is none."""
        place, text = self.checkpoint.folder / "times.json", json.dumps(dataclasses.asdict(self.times))
        with contextlib.suppress(OSError), open(place, "w", opener=durable.owner_only) as file:
            file.write(f"{text}\n")

    def _end_criu(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL of CRIU, never of runc first; frozen before, so that nothing runs on with broken sockets."""
        try:
            self._cgroup.freeze(limit=_FREEZE_LIMIT)
        except (GuardianError, OSError) as error:
            log.warning("%s: cannot freeze before ending CRIU: %s", self.container.name, error)
        for pid in runc.criu_below(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            process.wait(timeout=KILL_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def result(self) -> Result:
        """What became of it, for the one who asked for the checkpoint."""
        good = Outcome.SAVED if self._departure is None else Outcome.MOVED
        outcome = Outcome.FAILED if self.failed else good
        reason = self.reason or (f"to {self._departure.host}" if self._departure is not None else "")
        seconds = max(0.0, self.times.ended - self.times.frozen) if self.times.frozen else 0.0
        return Result(self.container.id, self.container.name, outcome, reason, seconds, self.checkpoint.id)


def _portions(files: list[Path], size: int = 500) -> Iterator[list[str]]:
    """The files in portions that fit a command line."""
    for start in range(0, len(files), size):
        yield [str(file) for file in files[start : start + size]]
