"""The worker looks ahead: now and then it plans, and says in the journal what could not be saved any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence

from guardian.model.container import Container
from guardian.model.errors import EngineUnavailable
from guardian.model.plan import news
from guardian.work import guarded
from guardian.work.host import Host
from guardian.work.plan import look

log = logging.getLogger("guardian.plan")

_FIRST = 180.0
_EVERY = 3600.0


class Lookout:
    """Plans some minutes after the start and then every hour. `claimed` are the ids that jobs work on."""

    def __init__(
        self,
        host: Host,
        containers: Callable[[], Sequence[Container]],
        claimed: Callable[[], Collection[str]],
    ) -> None:
        self._host = host
        self._containers = containers
        self._claimed = claimed
        self._savable: dict[str, bool] = {}

    def run(self) -> None:
        """For ever; whatever fails is logged."""
        never = threading.Event()
        never.wait(_FIRST)
        while True:
            try:
                self.look()
            except EngineUnavailable:
                pass  # the watch has said so
            except Exception:  # it must go on looking, whatever it was
                log.exception("looking ahead")
            never.wait(_EVERY)

    def look(self) -> None:
        """Plan once, and say what has changed since the last time."""
        containers = self._containers()
        found = guarded.find(containers, self._host.config)
        before = self._claimed()
        running = [member for member in found.members if member.container.running]
        forecasts = look(self._host, containers, found, running)
        busy = {*before, *self._claimed()}
        forecasts = [item for item in forecasts if item.id not in busy]
        for good, line in news(self._savable, forecasts):
            log.log(logging.INFO if good else logging.WARNING, "%s", line)
        known = {member.container.id for member in found.members}
        self._savable = {key: value for key, value in self._savable.items() if key in known}
        self._savable.update({item.id: item.savable for item in forecasts})
