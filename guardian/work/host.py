"""What every use case works with: the settings in force, the ledger, where to say things."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

from guardian.host.ledger import Ledger
from guardian.model.config import Config
from guardian.model.errors import Busy

Say = Callable[[str], None]
"""Takes one line for the console and the journal."""


@dataclasses.dataclass(frozen=True)
class Host:
    """The settings and the ledger of this host."""

    config: Config
    ledger: Ledger

    @classmethod
    def of(cls, config: Config) -> Host:
        """The host as the configuration describes it."""
        return cls(config, Ledger(Path(config.store_path)))


class Claims:
    """Which containers are being worked on: one job for each container at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: dict[str, str] = {}

    def take(self, wanted: dict[str, str], job: str) -> None:
        """Claim containers (id to name) for a job; raises Busy, claiming none, where one is taken."""
        with self._lock:
            for container_id, name in wanted.items():
                other = self._claimed.get(container_id)
                if other is not None:
                    raise Busy(
                        f"{name} is being worked on", f"by a {other}", hint="wait for it and try again"
                    )
            self._claimed.update(dict.fromkeys(wanted, job))

    def give_back(self, wanted: dict[str, str]) -> None:
        """The job is done with them."""
        with self._lock:
            for container_id in wanted:
                self._claimed.pop(container_id, None)
