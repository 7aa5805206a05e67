"""Containers made up for tests: ordinary ones, of which a test changes what it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from guardian.model.container import Attachment, Container, Healthcheck, Mount, RestartPolicy
from guardian.model.graph import Member
from guardian.model.labels import COMPOSE_PROJECT, COMPOSE_SERVICE, Condition, Dependency, GroupPolicy, Policy


def id_of(name: str) -> str:
    """The id of the sample container of this name."""
    return hashlib.sha256(name.encode()).hexdigest()


def container(name: str = "app", **changes: Any) -> Container:
    """A running container that can be saved."""
    facts: dict[str, Any] = {
        "id": id_of(name),
        "name": name,
        "image_id": f"sha256:{'0' * 64}",
        "config_hash": "1",
        "labels": {},
        "image_labels": {},
        "running": True,
        "paused": False,
        "pid": 4711,
        "started_at": "2026-01-01T00:00:00.000000001Z",
        "restart_policy": RestartPolicy.ALWAYS,
        "auto_remove": False,
        "terminal": False,
        "stop_signal": "SIGTERM",
        "stop_timeout": 10.0,
        "runtime": "runc",
        "network_mode": "bridge",
        "ipc_mode": "private",
        "pid_mode": "",
        "networks": (),
        "mounts": (),
        "healthcheck": Healthcheck(),
        "layer": "",
    }
    return Container(**(facts | changes))


def on_network(name: str, *addresses: str) -> Container:
    """A container with these IPv4 addresses, one network each."""
    networks = tuple(
        Attachment(f"net{place}", f"n{place}", address) for place, address in enumerate(addresses)
    )
    return container(name, networks=networks)


def volume(name: str, *, writable: bool = True) -> Mount:
    """A named volume."""
    return Mount("volume", f"/var/lib/docker/volumes/{name}/_data", "/data", writable, name)


def bind(source: str, *, writable: bool = True) -> Mount:
    """A bind mount."""
    return Mount("bind", source, "/data", writable)


def compose(project: str, service: str) -> dict[str, str]:
    """The labels that Compose gives a container of a service."""
    return {COMPOSE_PROJECT: project, COMPOSE_SERVICE: service}


def member(
    name: str,
    depends_on: Sequence[str | Dependency] = (),
    *,
    group: GroupPolicy = GroupPolicy.BEST_EFFORT,
    **changes: Any,
) -> Member:
    """A guarded container that depends on these names (started, unless a Dependency says otherwise)."""
    dependencies = tuple(
        each if isinstance(each, Dependency) else Dependency(each, Condition.STARTED) for each in depends_on
    )
    return Member(container(name, **changes), Policy(True, dependencies, group))
