"""The fence: what keeps the kernel from answering peers of a container that is away. Source: runtime/fence.c.

One file for each fenced container, read by the process behind guardian-fence.service whenever it is told to look.
Removing the file lifts the container's fence; so does the end of that process, and time.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable

from guardian.host import durable, paths
from guardian.model.connections import Flow
from guardian.model.container import is_container_id
from guardian.model.errors import GuardianError
from guardian.model.states import FORMAT

log = logging.getLogger("guardian.fence")

_LIMIT = 30.0
"""Seconds: a host that has just booted is slow, and another may be asking (runtime/fence.c)."""


class FenceFailed(GuardianError):
    """The fence is not in force; `why` says what is wrong."""


def put_up(container_id: str, flows: Iterable[Flow], *, seconds: float) -> None:
    """Drop the packets of `flows` for at most `seconds`, over a reboot too; raises FenceFailed."""
    lines = sorted(
        f"{flow.source.version} {flow.source} {flow.source_port} {flow.target} {flow.target_port}\n"
        for flow in flows
    )
    text = f"format={FORMAT}\nuntil={int(time.time() + seconds)}\n{''.join(lines)}"
    try:
        durable.private_folder(paths.FENCE)
        durable.write(paths.FENCE / container_id, text)
    except OSError as error:
        raise FenceFailed("the fence cannot be written", str(error)) from error
    _look()


def lift(container_id: str) -> None:
    """Let the packets through again; nothing where there is no fence. Where it fails, time ends it."""
    try:
        (paths.FENCE / container_id).unlink()
        _look()
    except FileNotFoundError:
        return
    except (OSError, FenceFailed) as error:
        log.error("%s: its fence cannot be lifted: %s", container_id[:12], error)


def fenced() -> list[str]:
    """The containers that have a fence."""
    try:
        return sorted(name for name in os.listdir(paths.FENCE) if is_container_id(name))
    except FileNotFoundError:
        return []


def _look() -> None:
    """Have the process look at the files, and wait until it has done what they say."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_LIMIT)
            asking.connect(str(paths.FENCE_SOCKET))
            asking.sendall(b"look\n")
            answer = asking.recv(512).decode(errors="replace").strip()
    except OSError as error:
        raise FenceFailed(
            "the fence does not answer", str(error), hint="systemctl status guardian-fence"
        ) from error
    if answer != "ok":
        raise FenceFailed("the fence cannot be set", answer)
