"""Whether a container can be saved at all, found out beforehand from what Docker says about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from guardian.model.container import Container
from guardian.model.wording import quoted

RUNTIMES = ("", "runc", "io.containerd.runc.v2")
"""The names under which containers run with the runc in containerd's path."""

ORCHESTRATORS = (
    ("com.docker.swarm.task.id", "Docker Swarm"),
    ("io.kubernetes.pod.uid", "Kubernetes"),
    ("com.hashicorp.nomad.alloc_id", "Nomad"),
)
"""The labels by which the containers of an orchestrator are known."""


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a container cannot be saved, and what its owner can do about it; neither ends with a full stop."""

    what: str
    cure: str


def refusals(container: Container) -> tuple[Refusal, ...]:
    """Everything that forbids saving the container; empty when nothing does."""
    return (*_of_its_life(container), *_of_its_namespaces(container))


def notes(container: Container) -> tuple[str, ...]:
    """What the owner of a container that can be saved should know."""
    if container.network_mode == "host":
        return ("uses the host's network, which cannot be locked for it: its connections may be closed",)
    return ()


def _of_its_life(container: Container) -> Iterator[Refusal]:
    if not container.running:
        yield Refusal("not running", "start it")
    if container.auto_remove:
        yield Refusal("is removed by Docker when it ends (--rm)", "run it without --rm")
    if container.runtime not in RUNTIMES:
        yield Refusal(f"runs with the runtime {quoted(container.runtime)}", "run it with runc")
    for label, orchestrator in ORCHESTRATORS:
        if label in container.labels:
            yield Refusal(
                f"belongs to {orchestrator}, which replaces what ends",
                f"leave it to {orchestrator}, or run it with plain Docker or Compose",
            )


def _of_its_namespaces(container: Container) -> Iterator[Refusal]:
    if container.network_mode.startswith("container:"):
        yield Refusal(
            "uses another container's network (--network container:)",
            "give it a network of its own; a later version can save it",
        )
    if container.pid_mode == "host" or container.pid_mode.startswith("container:"):
        yield Refusal(
            f"shares a PID namespace (--pid {_kind(container.pid_mode)})",
            "run it with a PID namespace of its own",
        )
    if container.remapped:
        # CRIU: `Can't setns .../net: Operation not permitted`, the namespace is not its user namespace's (seen).
        yield Refusal("has its users remapped (userns-remap)", "run it with --userns host")
    if container.ipc_mode in ("host", "shareable") or container.ipc_mode.startswith("container:"):
        yield Refusal(
            f"shares its IPC namespace and /dev/shm (--ipc {_kind(container.ipc_mode)})",
            "run it with --ipc private",
        )


def _kind(mode: str) -> str:
    """The mode without the id that may follow it."""
    head, colon, _ = mode.partition(":")
    return head + colon
