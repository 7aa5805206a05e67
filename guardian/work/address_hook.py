"""Addresses of a host that move along with a container, by a hook of the administrator's (`guardian.hook`).

A hook is asked on the source which `addresses` it moves, told there to `leave` once the container is the other host's,
and told on the target, where the container is about to run, that they `arrive`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection
from functools import partial

from guardian.host import arp, connections, hooks
from guardian.host.checkpoint import Checkpoint
from guardian.model.config import Config
from guardian.model.connections import Address
from guardian.model.container import Container
from guardian.model.errors import GuardianError
from guardian.work import guarded, peers

log = logging.getLogger("guardian.move")


def named(config: Config, container: Container) -> str:
    """The hook that a container names; empty for none."""
    return guarded.policy_of(container, config).hook


def call(config: Config, event: str, container: Container, host: str, addresses: Collection[Address]) -> None:
    """Tell the container's hook, where it names one; `host` is the other one. Raises GuardianError."""
    name = named(config, container)
    if name:
        told = {"CONTAINER": container.name, "ID": container.id, "HOST": host}
        told["ADDRESSES"] = hooks.shown(addresses)
        hooks.call(name, event, told, limit=config.hook_timeout)


def moving(config: Config, container: Container) -> frozenset[Address]:
    """The addresses of this host that the container's hook moves along; raises GuardianError."""
    name = named(config, container)
    told = {"CONTAINER": container.name, "ID": container.id}
    return hooks.addresses(name, told, limit=config.hook_timeout) if name else frozenset()


def take_over(config: Config, checkpoint: Checkpoint) -> None:
    """The addresses come here, fenced until the container runs; what fails costs connections, and is remarked upon."""
    along = connections.moving(checkpoint)
    if not along:
        return

    def arrive() -> None:
        container, travel = checkpoint.record().container, checkpoint.travel()
        call(config, "arrive", container, travel.host if travel else "", along)

    # Each by itself: without its fence a connection may be lost, without its hook the address would be.
    steps: tuple[Callable[[], None], ...] = (
        partial(peers.expect, config, checkpoint),
        arrive,
        partial(arp.announce, along),
    )
    for step in steps:
        try:
            step()
        except (GuardianError, OSError) as error:
            log.warning("%s: %s", checkpoint.container_id[:12], error)
            with contextlib.suppress(OSError):  # a full disk: nothing may end the move now
                checkpoint.remark(f"{hooks.shown(along)} did not move along as it should: {error}")
