"""Addresses of a host that move along with a container, by a hook of the administrator's (`guardian.hook`).

A hook is asked on the source which `addresses` it moves, told there to `leave` once the container is the other host's,
and told on the target, where the container is about to run, that they `arrive`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from guardian.host import arp, connections, hooks
from guardian.host.ledger import Checkpoint
from guardian.model import labels
from guardian.model.config import Config
from guardian.model.connections import Address
from guardian.model.container import Container
from guardian.model.errors import GuardianError
from guardian.work import peers

log = logging.getLogger("guardian.move")


def named(config: Config, container: Container) -> str:
    """The hook that a container names; empty for none."""
    return labels.parse(
        container.labels, container.image_labels, trust_image_labels=config.trust_image_labels
    ).hook


def call(name: str, event: str, container: Container, host: str, addresses: Collection[Address]) -> None:
    """Tell a hook; `host` is the other one. Raises GuardianError."""
    told = {"CONTAINER": container.name, "ID": container.id, "HOST": host}
    hooks.call(name, event, {**told, "ADDRESSES": hooks.shown(addresses)})


def take_over(config: Config, checkpoint: Checkpoint) -> None:
    """The addresses come here, fenced until the container runs; what fails costs connections, and is remarked upon."""
    along = connections.moving(checkpoint)
    if not along:
        return
    travel = checkpoint.travel()
    try:
        container = checkpoint.record().container
        peers.expect(config, checkpoint)
        call(named(config, container), "arrive", container, travel.host if travel else "", along)
        arp.announce(along)
    except (GuardianError, OSError) as error:
        log.warning("%s: %s", checkpoint.container_id[:12], error)
        checkpoint.remark(f"{hooks.shown(along)} did not move along: {error}")
