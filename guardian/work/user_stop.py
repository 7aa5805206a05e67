"""A container that its user stops while it is being saved: to Docker it is stopped, and no restore undoes that."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading

from guardian.host import docker_daemon, gate, systemd, unsaved
from guardian.host.checkpoint import Checkpoint
from guardian.host.docker_engine import Engine, StartRefused
from guardian.model.container import Container
from guardian.model.errors import GuardianError, UnknownContainer
from guardian.model.states import Purpose, State
from guardian.work.host import Host
from guardian.work.stop import signal_number

STOPPED = "its user stopped it while it was being saved"
RESTARTED = "its user restarted it while it was being saved"
_RESTART_SHOWS = 3.0
"""Seconds after which a `docker restart`, which begins with the same event, has been refused its start."""

log = logging.getLogger("guardian.watch")


def heard(host: Host, container_id: str, number: str = "") -> None:
    """dockerd stops a container, or sends it the signal of this `number`, which may be to stop it.

    Waits for its end, and seconds more, to tell it from the first half of a restart.

    Noted at once: whoever restores may come before, and a dockerd that is stopped itself says nothing later. One that
    stops its containers because it ends is no user.
    """
    try:
        dockerd = docker_daemon.running_pid()
        if not dockerd or systemd.active_state(docker_daemon.UNIT) == "deactivating":
            return
        if not number:
            unsaved.forget(container_id)  # it does not start cold either, whatever the store says
        checkpoint = _newest(host, container_id)
        if checkpoint is None or (number and not _is_meant(checkpoint, number)):
            return
        checkpoint.note_user_stop(dockerd)
        container = _after_its_end(container_id, dockerd, host.config.checkpoint_budget if number else 0.0)
        if container is None:
            return
        if container.running:
            checkpoint.forget_user_stop()
        elif will(checkpoint, container) == RESTARTED:
            checkpoint.note_user_stop(dockerd, restarts=True)
    except UnknownContainer:
        return  # it was removed
    except (GuardianError, OSError) as error:
        log.warning("%s: what came of its stop cannot be told: %s", container_id[:12], error)
    except Exception:  # of systemd, say; nobody waits for what this thread says
        log.exception("%s: what came of its stop cannot be told", container_id[:12])


def _after_its_end(container_id: str, dockerd: int, limit: float) -> Container | None:
    """The container once it is down, within `limit` seconds, and a restart would have shown; None without this dockerd.

    What another one says takes nothing back, and whoever asks at the socket of a dead one may have systemd start it.
    """
    with contextlib.closing(Engine()) as engine:
        if limit:
            with contextlib.suppress(StartRefused):
                engine.wait_until_down(container_id, limit=limit)
        if docker_daemon.running_pid() != dockerd:
            return None
        container = engine.container(container_id)
        if container.running or gate.REFUSAL in container.error:
            return container
        threading.Event().wait(_RESTART_SHOWS)
        return engine.container(container_id) if docker_daemon.running_pid() == dockerd else None


def _is_meant(checkpoint: Checkpoint, number: str) -> bool:
    """Whether a signal is to stop the container: its own, or SIGKILL.

    To dockerd it is then, whatever the container makes of it (moby daemon/kill.go): no policy starts it again. One
    that comes once the container is dead is guardian's, to have dockerd look (`pending`).
    """
    if State.KILLED.value in checkpoint.marks():
        return False
    return number in {str(signal_number(checkpoint.record().container.stop_signal)), str(int(signal.SIGKILL))}


def will(checkpoint: Checkpoint, container: Container) -> str:
    """What its user has done to it meanwhile, STOPPED or RESTARTED; empty where nothing.

    A start that the same dockerd has refused since was a restart's. Its image may have the signal in it.
    """
    noted = checkpoint.user_stop()
    if not noted:
        return ""
    refused = gate.REFUSAL in container.error and noted.get("dockerd") == str(docker_daemon.running_pid())
    return RESTARTED if refused or noted.get("restarts") == "1" else STOPPED


def take_back(host: Host, container_id: str) -> None:
    """A restore is asked for by its name: that is the later word."""
    checkpoint = _newest(host, container_id)
    if checkpoint is not None:
        checkpoint.forget_user_stop()


def _newest(host: Host, container_id: str) -> Checkpoint | None:
    """Its newest checkpoint, where that was made to be resumed here and its end is not known."""
    for checkpoint in host.ledger.of(container_id)[-1:]:
        if (
            checkpoint.purpose() is Purpose.SUSPEND
            and checkpoint.result() is None
            and checkpoint.travel() is None
        ):
            return None if State.SPENT.value in checkpoint.marks() else checkpoint
    return None
