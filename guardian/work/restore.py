"""Restore: tickets in the order of the old addresses, gates in the order of the graph, cold start where it fails."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence

from guardian.host import docker_daemon, facts
from guardian.host.announcements import Announcements
from guardian.host.docker_engine import Engine
from guardian.model.errors import GuardianError
from guardian.model.graph import Graph, address_order
from guardian.model.labels import Condition
from guardian.model.outcome import Outcome, Result
from guardian.work import retention
from guardian.work.checkpoint import line
from guardian.work.cold import ColdStart, set_aside, waits
from guardian.work.coming import Coming
from guardian.work.host import Host, Say
from guardian.work.placeholders import Placeholders
from guardian.work.resume import Pending, Resume

_HEALTH_INTERVAL = 0.5
_NO_TIME = "no time was left in the budget for its restore"

log = logging.getLogger("guardian.restore")


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
                    one = self._one(item)
                    one.begin(self._left())
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

    def _one(self, item: Pending) -> Resume | ColdStart:
        reason = item.cold
        if not reason and time.monotonic() >= self._end and not item.checkpoint.elsewhere():
            # In its turn all the same: it has an address to get.
            reason = set_aside(item.checkpoint, _NO_TIME)
        if reason:
            return ColdStart(item.container, item.checkpoint, reason)
        return Resume(self._host, item, self._come_back, self._coming)

    def _leave(self, container_id: str) -> None:
        """dockerd is going away: what was not begun stays in the ledger, held."""
        item = self._pending[container_id]
        self._results[container_id] = waits(item.container, item.checkpoint)
        self._done[container_id].set()

    def _finish(self, one: Resume | ColdStart) -> None:
        """The rest of one container's way, in a thread of its own."""
        container_id = one.container.id
        try:
            self._wait_for_dependencies(container_id)
            if isinstance(one, Resume) and time.monotonic() >= self._end:
                one.abandon()
                result = one.start_cold(_NO_TIME, self._left())
            else:
                result = one.finish(self._left())
        except Exception as error:  # whatever went wrong, the hold must end and the dependents go on
            log.exception("%s", one.container.name)
            one.abandon()
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
        names = {
            self._pending[key].container.name
            for key, outcome in outcomes.items()
            if outcome in away and not self._pending[key].cold
        }
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
