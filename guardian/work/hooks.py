"""Hooks around a checkpoint and a restore: the administrator's executable, and the container's own commands.

Before either they may forbid it; afterwards they are told. Nothing waits for them longer than `[hooks] timeout`.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping

from guardian.host import hooks, runc_exec
from guardian.host.command import CommandFailed
from guardian.model.config import Config
from guardian.model.config_kinds import HookFailure
from guardian.model.container import Container
from guardian.model.errors import GuardianError
from guardian.model.wording import printable
from guardian.work import guarded

CONTINUED = "continued"
"""GUARDIAN_OUTCOME of a container that goes on from a checkpoint which it outlived."""
_MOST_SAID = 200

log = logging.getLogger("guardian.hooks")


class Event(enum.Enum):
    """When hooks are run."""

    PRE_CHECKPOINT = "pre-checkpoint"
    POST_CHECKPOINT = "post-checkpoint"
    PRE_RESTORE = "pre-restore"
    POST_RESTORE = "post-restore"


def has_any(config: Config, container: Container) -> bool:
    """Whether anything would be run for this container."""
    policy = guarded.policy_of(container, config)
    return bool(policy.hook or policy.pre_checkpoint or policy.post_restore)


def refusal(config: Config, container: Container, event: Event, *, limit: float) -> str:
    """Ask the hook, then the container's own command; returns why it must not be, empty where it may."""
    policy = guarded.policy_of(container, config)
    limit = min(limit, config.hook_timeout)
    try:
        if policy.hook:
            hooks.call(policy.hook, event.value, _told(container), limit=limit)
        if event is Event.PRE_CHECKPOINT:
            _inside(container, policy.pre_checkpoint, event, {}, limit=limit)
    except GuardianError as error:
        said = f"{event.value}: {printable(str(error))}"
        if config.hook_failure is HookFailure.VETO:
            return said
        log.warning("%s: %s; it goes on all the same", container.name, said)
    return ""


def tell_host(config: Config, container: Container, event: Event, outcome: str, reason: str) -> str:
    """Tell the hook how it ended; returns what is to be said of the hook."""
    policy = guarded.policy_of(container, config)
    told = {**_told(container), "OUTCOME": outcome, "REASON": printable(reason)}
    return _said(
        event,
        lambda: policy.hook and hooks.call(policy.hook, event.value, told, limit=config.hook_timeout),
    )


def tell_container(config: Config, container: Container, outcome: str) -> str:
    """Tell the container that it runs again, by its own command; returns what is to be said of that."""
    policy = guarded.policy_of(container, config)
    if container.paused:
        return f"{Event.POST_RESTORE.value}: not run, the container is paused" if policy.post_restore else ""
    told = {"OUTCOME": outcome}
    limit = config.hook_timeout
    return _said(
        Event.POST_RESTORE,
        lambda: _inside(container, policy.post_restore, Event.POST_RESTORE, told, limit=limit),
    )


def _said(event: Event, call: Callable[[], object]) -> str:
    try:
        call()
    except GuardianError as error:
        said = f"{event.value}: {printable(str(error))}"
        log.warning("%s", said)
        return said
    return ""


def _told(container: Container) -> dict[str, str]:
    return {"CONTAINER": container.name, "ID": container.id}


def _inside(
    container: Container, argv: tuple[str, ...], event: Event, told: Mapping[str, str], *, limit: float
) -> None:
    if not argv:
        return
    environment = {"GUARDIAN_EVENT": event.value, **{f"GUARDIAN_{key}": value for key, value in told.items()}}
    done = runc_exec.inside(container.id, argv, environment, limit=limit, most=hooks.MOST_OUTPUT)
    if done.status != 0:
        raise CommandFailed(f"its command failed with {done.status}", done.output.strip()[-_MOST_SAID:])
