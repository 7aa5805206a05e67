"""What holders say when `create` was answered: dockerd has given the container its addresses by then."""

from __future__ import annotations

import select
import socket
import time

from guardian.host import paths

_SOCKET = paths.RUN / "created.sock"


class Announcements:
    """A datagram socket that holders send their container's id to."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        _SOCKET.unlink(missing_ok=True)
        self._socket.bind(str(_SOCKET))
        self._heard: set[str] = set()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        _SOCKET.unlink(missing_ok=True)

    def wait(self, container_id: str, ended: int, *, limit: float) -> bool:
        """Wait until the container's `create` was answered; False at the limit or when `ended` (a descriptor that
        becomes readable) says that it will not be.
        """
        end = time.monotonic() + limit
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        poller.register(ended, select.POLLIN)
        while container_id not in self._heard:
            left = end - time.monotonic()
            ready = dict(poller.poll(max(0.0, left) * 1000))
            if not ready:
                return False
            if self._socket.fileno() in ready:
                self._heard.add(self._socket.recv(128).decode(errors="replace").strip())
            elif ended in ready:
                return False
        self._heard.discard(container_id)
        return True
