"""What every use case works with: the settings in force, the ledger, where to say things."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from guardian.host.checkpoint import Checkpoint
from guardian.host.ledger import Ledger
from guardian.model.config import Config
from guardian.model.container import Container
from guardian.model.errors import Busy

Say = Callable[[str], None]
"""Takes one line for the console and the journal."""


@dataclasses.dataclass(frozen=True)
class Host:
    """The settings and the ledger of this host, and who is told of what."""

    config: Config
    ledger: Ledger
    committed: Callable[[Checkpoint], None] = lambda _: None
    """Told of every checkpoint that is complete, once its container is dead or runs again."""

    @classmethod
    def of(cls, config: Config) -> Host:
        """The host as the configuration describes it."""
        return cls(config, Ledger(Path(config.store_path), encrypted=config.encrypt))


class Budget:
    """The time a whole job may take, in seconds from now on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, *, at_most: float) -> float:
        """Seconds left, at most `at_most`, never negative."""
        return max(0.0, min(at_most, self._end - time.monotonic()))

    def left_of_share(self, share: float) -> float:
        """Seconds left of the first part of it, the `share` of the whole; what comes later has the rest."""
        return max(0.0, self._end - self._seconds * (1 - share) - time.monotonic())


class Claims:
    """Which containers are being worked on: one job for each container at a time."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._claimed: dict[str, tuple[Container, str]] = {}

    def claimed(self) -> dict[str, Container]:
        """The containers that jobs work on, as they were when they were claimed."""
        with self._lock:
            return {container_id: container for container_id, (container, _) in self._claimed.items()}

    def wait_until_free(self, *, limit: float) -> None:
        """Wait at most `limit` seconds until no job works on anything."""
        with self._lock:
            self._lock.wait_for(lambda: not self._claimed, timeout=limit)

    @contextlib.contextmanager
    def claim(self, containers: Sequence[Container], job: str, *, wait: float = 0.0) -> Iterator[None]:
        """Claim containers for a job, waiting at most `wait` seconds for other jobs to end.

        Raises Busy, claiming none, where one is still taken.
        """
        with self._lock:
            wanted = {container.id for container in containers}
            self._lock.wait_for(lambda: not wanted & self._claimed.keys(), timeout=wait)
            for container in containers:
                if container.id in self._claimed:
                    _, other = self._claimed[container.id]
                    raise Busy(
                        f"{container.name} is being worked on",
                        f"by a {other}",
                        hint="wait for it and try again",
                    )
            self._claimed.update({container.id: (container, job) for container in containers})
        try:
            yield
        finally:
            with self._lock:
                for container in containers:
                    self._claimed.pop(container.id, None)
                self._lock.notify_all()
