"""What comes over a connection to the worker: lines, and beside the first one at most one descriptor."""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
from typing import Self

from guardian.model.errors import BadInput

_LONGEST_LINE = 1 << 20
_CHUNK = 1 << 16
_ROOM = 2
"""Descriptors that are received: one more than is allowed, so that it is noticed. The kernel closes the rest."""


class Incoming:
    """A context manager: what came along is closed at its end, whatever happens."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._waiting = b""
        self._begun = False
        self._descriptors: list[int] = []

    def readline(self) -> str:
        """The next line, or what there is of it at the end; raises BadInput for one that is too long, OSError."""
        while b"\n" not in self._waiting and (got := self._more()):
            self._waiting += got
            if len(self._waiting) > _LONGEST_LINE:
                self._waiting = b""
                raise BadInput("the request does not parse", "its line is too long")
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line.decode(errors="replace")

    def ready(self, limit: float) -> bool:
        """Whether there is something to read, within `limit` seconds."""
        return b"\n" in self._waiting or bool(select.select([self._connection], [], [], limit)[0])

    def descriptor(self, *, needed: bool) -> int | None:
        """The descriptor that came along, still to be closed here; raises BadInput for one too many or too few."""
        if len(self._descriptors) != needed:
            found = len(self._descriptors) or "none"
            raise BadInput(
                "the request does not parse",
                f"it needs {'one descriptor' if needed else 'none'}, it has {found}",
            )
        return self._descriptors[0] if needed else None

    def close(self) -> None:
        """Close what came along."""
        while self._descriptors:
            with contextlib.suppress(OSError):
                os.close(self._descriptors.pop())

    def _more(self) -> bytes:
        """Descriptors are only taken beside the first bytes; later ones the kernel closes."""
        if self._begun:
            return self._connection.recv(_CHUNK)
        self._begun = True
        room = array.array("i", [0] * _ROOM)
        data, beside, _, _ = self._connection.recvmsg(
            _CHUNK, socket.CMSG_SPACE(len(room) * room.itemsize), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, given in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found = array.array("i")
                found.frombytes(given[: len(given) - len(given) % found.itemsize])
                self._descriptors += found
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
