"""Checkpoint: freeze each group, lock, dump in parallel, commit together; whoever is given up goes on as before."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from guardian.host import chain, runc, space
from guardian.host.checkpoint import Checkpoint
from guardian.host.command import CommandFailed, run
from guardian.model.container import Container
from guardian.model.errors import GuardianError, StoreError
from guardian.model.graph import Graph, Group, Member
from guardian.model.labels import GroupPolicy
from guardian.model.outcome import Outcome, Result
from guardian.model.savable import refusals
from guardian.model.states import Purpose
from guardian.model.worth import worth
from guardian.work import ahead, hooks
from guardian.work.barrier import Barrier
from guardian.work.departure import Departure
from guardian.work.hooks import Event
from guardian.work.host import Budget, Host, Say
from guardian.work.member import MemberCheckpoint
from guardian.work.settle import note_result
from guardian.work.slots import Slots

log = logging.getLogger("guardian.checkpoint")

_INIT_ENDED = "its init ended during the freeze"
_BEGIN_LIMIT = 10.0
"""Seconds that a group waits at most for the others to begin."""

_Answer = TypeVar("_Answer")

GiveUp = Callable[[Member, str, Checkpoint | None], Result]
"""What becomes of a container that could not be saved: it goes on, is stopped, or is tried again (SKIPPED)."""
_NO_END = frozenset({Outcome.COLD, Outcome.SKIPPED})
"""What its record is not told: it is not cold before it is started."""


def checkpoint(
    host: Host,
    graph: Graph,
    chosen: Sequence[Member],
    *,
    purpose: Purpose,
    by_person: bool,
    budget: Budget,
    say: Say,
    given_up: GiveUp,
    note: str = "",
    departure: Departure | None = None,
    pre_dump: int | None = None,
) -> list[Result]:
    """Checkpoint the chosen containers, group by group and all groups at once; returns one result for each.

    `pre_dump`: how often memory is written ahead, where it is not as the labels say.
    Those of a `departure` are one group, all or nothing, and given to another host where it takes them.
    """
    wanted = {member.container.id: member for member in chosen}
    groups = [group for group in graph.groups() if wanted.keys() & set(group.members)]
    if departure is not None:
        groups = [Group(tuple(wanted), GroupPolicy.ALL_OR_NOTHING)]
    groups.sort(
        key=lambda group: min(-wanted[item].policy.priority for item in group.members if item in wanted)
    )
    slots = Slots(host.config.parallel or os.cpu_count() or 1)
    room = space.Room(host.config, host.ledger)

    def made(group: Group) -> _Group:
        order = [container_id for container_id in graph.freeze_order(group) if container_id in wanted]
        return _Group(
            host,
            [wanted[item] for item in order],
            group,
            slots,
            _Kind(purpose, by_person, note, departure, pre_dump),
            budget,
            room,
        )

    return _run([made(group) for group in groups], say, given_up)


def _run(groups: Sequence[_Group], say: Say, given_up: GiveUp) -> list[Result]:
    """All groups at once, after each has begun: what one writes ahead must not take the room that another asks for."""
    if not groups:
        return []
    with ThreadPoolExecutor(len(groups), thread_name_prefix="group") as pool:
        begun = [pool.submit(group.begin) for group in groups]
        wait(begun, timeout=_BEGIN_LIMIT)

        def one(group: _Group, beginning: Future[None]) -> list[Result]:
            beginning.result()
            return group.run(say, given_up)

        return [result for results in pool.map(one, groups, begun) for result in results]


@dataclasses.dataclass(frozen=True)
class _Kind:
    """What the checkpoints of a job are for."""

    purpose: Purpose
    by_person: bool
    note: str
    departure: Departure | None
    pre_dump: int | None


class _Group:
    """One group on its way. `members` are in freeze order: dependents first."""

    def __init__(
        self,
        host: Host,
        members: Sequence[Member],
        group: Group,
        slots: Slots,
        kind: _Kind,
        budget: Budget,
        room: space.Room,
    ) -> None:
        self._host = host
        self._members = members
        self._all_or_nothing = group.policy is GroupPolicy.ALL_OR_NOTHING
        self._slots = slots
        self._kind = kind
        self._budget = budget
        self._room = room
        self._reasons: dict[str, str] = {}
        self._dumps: list[MemberCheckpoint] = []
        self._sizes: dict[MemberCheckpoint, int] = {}

    def run(self, say: Say, given_up: GiveUp) -> list[Result]:
        """Take the group through all steps after `begin`."""
        dumps = self._dumps
        # Before the hooks: whom they have hold still need not wait for it.
        self._write_ahead(dumps, say)
        ready = self._ask([dump for dump in dumps if not dump.failed])
        if self._all_or_nothing and len(ready) < len(self._members):
            for dump in ready:
                _give_up(dump, "another member of its group cannot be saved, and its group is all-or-nothing")
            ready = []
        departure = self._kind.departure
        if ready:
            if self._kind.purpose is Purpose.SUSPEND and departure is None:
                self._presync(ready)
            ready = self._stand_still(ready)
        self._slots.forget(*(dump.rank for dump in dumps if dump.failed))
        if ready:
            if departure is not None:
                departure.begin([(dump.container.name, dump.checkpoint) for dump in ready])
            self._dump(ready)
        results = []
        for member in self._members:
            made = next((dump for dump in dumps if dump.container.id == member.container.id), None)
            reason = made.reason if made is not None else self._reasons[member.container.id]
            if reason:
                result = given_up(member, reason, made.checkpoint if made is not None else None)
                if made is not None and result.outcome not in _NO_END:
                    note_result(made.checkpoint, result)
            else:
                assert made is not None
                result = made.result()
                if result.outcome == Outcome.MOVED:
                    note_result(made.checkpoint, result)
                else:
                    self._host.committed(made.checkpoint)
            say(self._line(result))
            results.append(result)
        self._tell(dumps, results)
        return results

    def _write_ahead(self, dumps: Sequence[MemberCheckpoint], say: Say) -> None:
        """Write memory while its container still runs, where its label asks for it; never for a move."""
        lost = self._all_or_nothing and len(dumps) < len(self._members)
        if lost or self._kind.departure is not None:
            return
        means = ahead.Means(
            self._host, self._budget, self._slots, self._room, hurried=not self._kind.by_person
        )
        asked = self._kind.pre_dump
        counts = {
            member.container.id: member.policy.pre_dump if asked is None else asked
            for member in self._members
        }
        wanted = [
            ahead.Ahead(
                dump.container, dump.checkpoint, counts[dump.container.id], self._sizes[dump], dump.rank
            )
            for dump in dumps
        ]
        ahead.write_ahead(means, wanted, say)

    def _ask(self, dumps: Sequence[MemberCheckpoint]) -> list[MemberCheckpoint]:
        """Those that no hook forbids, each asked at the same time."""

        def ask(dump: MemberCheckpoint) -> str:
            limit = self._budget.left(at_most=self._host.config.hook_timeout)
            return hooks.refusal(self._host.config, dump.container, Event.PRE_CHECKPOINT, limit=limit)

        asked = [dump for dump in dumps if hooks.has_any(self._host.config, dump.container)]
        for dump, refusal in zip(asked, _all_at_once(ask, asked), strict=True):
            if refusal:
                _give_up(dump, refusal)
        return [dump for dump in dumps if not dump.failed]

    def _tell(self, dumps: Sequence[MemberCheckpoint], results: Sequence[Result]) -> None:
        """Tell the hooks what came of it, and the containers that go on where they were."""
        config = self._host.config
        outcomes = {result.container_id: result for result in results}

        def tell(dump: MemberCheckpoint) -> None:
            result = outcomes[dump.container.id]
            goes_on = (
                result.outcome in (Outcome.FAILED, Outcome.SKIPPED) or self._kind.purpose is Purpose.SNAPSHOT
            )
            if goes_on and runc.state(dump.container.id) is not None:
                hooks.tell_container(config, dump.container, hooks.CONTINUED)
            hooks.tell_host(config, dump.container, Event.POST_CHECKPOINT, str(result.outcome), result.reason)

        _all_at_once(tell, [dump for dump in dumps if hooks.has_any(config, dump.container)])

    def _line(self, result: Result) -> str:
        if self._kind.purpose is Purpose.SNAPSHOT and result.outcome == Outcome.SAVED:
            number = (
                Checkpoint(self._host.ledger.store / result.container_id / result.checkpoint).record().number
            )
            return f"{result.name}: saved as {result.name}@{number}, frozen for {result.seconds:.2f} s"
        return line(result)

    def begin(self) -> None:
        """Promise each member its room and write its record, with nothing touched."""
        dumps = self._dumps
        for member in self._members:
            container = member.container
            try:
                found = [f"{refusal.what}: {refusal.cure}" for refusal in refusals(container)]
                unsupported = found[0] if found else runc.unsupported()
                if unsupported:
                    raise GuardianError(unsupported)
                size = self._room.take(container.id)
                dumps.append(
                    MemberCheckpoint.begin(
                        self._host,
                        self._budget,
                        container,
                        purpose=self._kind.purpose,
                        group=tuple(item.container.id for item in self._members),
                        by_person=self._kind.by_person,
                        note=self._kind.note,
                        departure=self._kind.departure,
                    )
                )
                dumps[-1].rank = worth(member, size)
                self._slots.expect(dumps[-1].rank)
                self._sizes[dumps[-1]] = size
            except GuardianError as error:
                self._reasons[container.id] = str(error)

    def _writable(self, dumps: Sequence[MemberCheckpoint]) -> set[str]:
        """Folders whose file systems the members write to: volumes, bind mounts, writable layers."""
        found = set()
        for dump in dumps:
            for mount in dump.container.mounts:
                if mount.writable and mount.source.startswith("/") and mount.kind in ("bind", "volume"):
                    # A socket or a device cannot be opened to be synced; the folder it lies in can.
                    source = Path(mount.source)
                    found.add(str(source if source.is_dir() else source.parent))
            # Not every image store tells where the layer is; the way through the container leads there.
            found.add(dump.container.layer or str(dump.root))
        devices: dict[int, str] = {}
        for path in sorted(found):
            try:
                devices.setdefault(os.stat(path).st_dev, path)
            except OSError as error:
                log.warning("%s cannot be looked at: %s", path, error)
        return set(devices.values())

    def _presync(self, dumps: Sequence[MemberCheckpoint]) -> None:
        """One sync before the freeze keeps the one within it short; its failure costs nothing."""
        for path in self._writable(dumps):
            try:
                run(["sync", "--file-system", path], limit=self._host.config.sync_timeout)
            except CommandFailed as error:
                log.warning("%s", error)

    def _stand_still(self, dumps: Sequence[MemberCheckpoint]) -> list[MemberCheckpoint]:
        """End what does not belong, freeze, lock, look at connections: each step for all; whoever fails is given up."""
        ready = list(dumps)
        around, down = [dump.container for dump in dumps], self._waiting()
        steps: tuple[Callable[[MemberCheckpoint], None], ...] = (
            MemberCheckpoint.end_execs,
            MemberCheckpoint.freeze,
            MemberCheckpoint.lock,
            lambda dump: dump.note_peers(around, down),
        )
        for step in steps:
            for dump in list(ready):
                try:
                    step(dump)
                except (GuardianError, OSError) as error:
                    # Without an init it is a file of /proc or a program that was in want of it: that says nothing.
                    _give_up(dump, str(error) if os.access(dump.root, os.F_OK) else _INIT_ENDED)
                    ready.remove(dump)
        if self._all_or_nothing and len(ready) < len(dumps):
            for dump in ready:
                _give_up(dump, "another member of its group was given up, and its group is all-or-nothing")
            ready = []
        return ready

    def _waiting(self) -> list[Container]:
        try:
            return self._host.ledger.waiting()
        except StoreError as error:
            log.warning("%s", error)
            return []

    def _dump(self, ready: Sequence[MemberCheckpoint]) -> None:
        ids = [dump.container.id for dump in ready]
        dumped = Barrier(ids, all_or_nothing=self._all_or_nothing)
        held = Barrier(ids, all_or_nothing=self._all_or_nothing)
        writable = self._writable(ready)
        threads = [
            threading.Thread(
                target=dump.dump, args=(self._slots, dumped, held, writable), name=dump.container.name
            )
            for dump in ready
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _all_at_once(
    work: Callable[[MemberCheckpoint], _Answer], dumps: Sequence[MemberCheckpoint]
) -> list[_Answer]:
    """What each answers, in their order."""
    if not dumps:
        return []
    with ThreadPoolExecutor(len(dumps), thread_name_prefix="hook") as pool:
        return list(pool.map(work, dumps))


def _give_up(dump: MemberCheckpoint, reason: str) -> None:
    """Give a member up; whatever fails in it, the others have their turn."""
    try:
        dump.give_up(reason)
    except (GuardianError, OSError):
        log.exception("%s", dump.container.name)


def goes_on(member: Member, reason: str, made: Checkpoint | None) -> Result:
    """A container that could not be saved and goes on as before."""
    if made is not None and chain.noted(made.folder):
        reason += "; its memory had been written ahead, --pre-dump 0 does without"
    return Result(member.container.id, member.container.name, Outcome.FAILED, reason, 0.0, "")


def line(result: Result) -> str:
    """One line for the console and the journal."""
    text = f"{result.name}: {result.outcome}"
    if result.seconds:
        text += f" in {result.seconds:.1f} s"
    return f"{text} ({result.reason})" if result.reason else text
