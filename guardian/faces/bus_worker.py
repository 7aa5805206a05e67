"""Asks the worker without waiting in its place: the bus face serves others meanwhile."""

from __future__ import annotations

import asyncio
import socket
from typing import Self

from guardian.faces import worker_client
from guardian.faces.worker_client import Answer, WorkerUnavailable
from guardian.host import paths
from guardian.model.errors import GuardianError

_LONGEST_LINE = 64 << 20
"""A list of some thousand containers is one line."""


class Refused(GuardianError):
    """The worker refused, and said so with an error of its own."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        super().__init__(text)


class Conversation:
    """One call under way: an asynchronous context manager that hangs up at its end. The work goes on then."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def begin(cls, request: bytes, descriptor: int | None = None) -> Conversation:
        """Send a request, and a descriptor of the caller's along with it; raises WorkerUnavailable."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, str(paths.WORKER_SOCKET))
            sent = 0
            if descriptor is not None:
                # It goes with the first bytes, for which a new connection has room; a stream cannot send it.
                sent = socket.send_fds(connection, [request], [descriptor])
            reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_LONGEST_LINE)
        except OSError as error:
            connection.close()
            raise _silent(error) from error
        except BaseException:
            connection.close()
            raise
        try:
            writer.write(request[sent:])
            await writer.drain()
        except OSError as error:
            writer.close()
            raise _silent(error) from error
        return cls(reader, writer)

    async def next(self) -> Answer | str | None:
        """What the worker says next, as `worker_client.answer` has it; raises WorkerUnavailable. May be cancelled."""
        try:
            line = await self._reader.readline()
            if line:
                return worker_client.answer(line.decode())
        except (OSError, ValueError) as error:
            raise _silent(error) from error
        raise WorkerUnavailable(
            "the worker ended before the work was done",
            hint="journalctl -u guardian-worker; guardianctl list",
        )

    async def end(self) -> Answer:
        """Wait for the end; raises WorkerUnavailable."""
        while True:
            said = await self.next()
            if isinstance(said, Answer):
                return said

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def raise_if_refused(said: Answer) -> None:
    """Raises Refused where the answer is an error."""
    if said.error is not None:
        raise Refused(*said.error)


def _silent(error: Exception) -> WorkerUnavailable:
    return WorkerUnavailable(
        "the worker does not answer", str(error), hint="systemctl status guardian-worker"
    )
