"""A container that was restored and runs: what dockerd says of it, kept for the time when it cannot be asked."""

from __future__ import annotations

import contextlib
import logging

from guardian.host import docker_daemon, facts
from guardian.host.docker_engine import Engine
from guardian.model.container import Container
from guardian.model.errors import EngineUnavailable, GuardianError

_ASK_LIMIT = 5.0

log = logging.getLogger("guardian.restore")


def known_to_dockerd(container_id: str) -> bool:
    """Whether dockerd, which has said that it did not start it, knows it as running, or hangs."""
    if not docker_daemon.running_pid():
        return False
    try:
        with contextlib.closing(Engine(limit=_ASK_LIMIT)) as engine:
            return engine.container(container_id).running
    except GuardianError:
        return docker_daemon.running_pid() != 0


def look(before: Container) -> Container:
    """The container as dockerd knows it now; where it does not say, as it was, and started."""
    try:
        if not docker_daemon.running_pid():
            raise EngineUnavailable("dockerd went away")
        with contextlib.closing(Engine(limit=_ASK_LIMIT)) as engine:
            return engine.container(before.id)
    except GuardianError as error:
        log.warning("%s: its facts are those of before: %s", before.name, error)
        return docker_daemon.as_started(before)


def keep_facts(now: Container) -> None:
    """At once, not by its event: the host may go down before that is heard."""
    try:
        if now.running:
            facts.keep(now)
    except OSError as error:
        log.error("%s: its facts cannot be kept: %s", now.name, error)


def pause(container: Container) -> None:
    """It was paused, and is again."""
    try:
        with contextlib.closing(Engine()) as engine:
            engine.pause(container.id)
    except GuardianError as error:
        log.error("%s: it was paused and cannot be paused again: %s", container.name, error)
