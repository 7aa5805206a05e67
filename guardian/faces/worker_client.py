"""Asks the worker over its socket; what guardianctl and the bus face share."""

from __future__ import annotations

import dataclasses
import json
import select
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from guardian.faces.jobs import Call, Move, Status
from guardian.host import paths
from guardian.model import json_text
from guardian.model.errors import GuardianError

_PATIENCE = 5.0
_RETRY = 0.1


class WorkerUnavailable(GuardianError):
    """The worker does not answer."""

    name = "WorkerUnavailable"


@dataclasses.dataclass(frozen=True)
class Answer:
    """How a call ended. `error` is (name, text) where it was refused."""

    status: Status
    results: list[dict[str, Any]]
    error: tuple[str, str] | None


def request(
    call: Call,
    containers: tuple[str, ...] = (),
    *,
    start: bool = False,
    force: bool = False,
    note: str = "",
    pre_dump: int | None = None,
    move: Move | None = None,
    errand: Mapping[str, Any] | None = None,
) -> bytes:
    """The line that asks for a call."""
    data: dict[str, Any] = {
        "call": call.value,
        "containers": list(containers),
        "start": start,
        "force": force,
        "note": note,
    }
    if pre_dump is not None:
        data["pre_dump"] = pre_dump
    if move is not None:
        data["move"] = dataclasses.asdict(move)
    if errand is not None:
        data["errand"] = errand
    return json.dumps(data).encode() + b"\n"


def answer(line: str) -> Answer | str | None:
    """What a line of the worker's says: a line of progress, the end, or (None) that the call is accepted.

    Raises ValueError for what no worker says.
    """
    data = json_text.loads(line)
    try:
        if "say" in data:
            return str(data["say"])
        if "done" not in data:
            return None
        error = data.get("error")
        return Answer(
            Status(data["done"]),
            [dict(result) for result in data["results"]],
            None if error is None else (str(error["name"]), str(error["text"])),
        )
    except (LookupError, TypeError, AttributeError) as problem:
        raise ValueError(f"the worker said what is not understood: {problem!r:.200}") from problem


def _connect(connection: socket.socket) -> None:
    """Connect; a worker that is being started again (an upgrade) is waited for. Raises OSError."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.connect(str(paths.WORKER_SOCKET))
        except (ConnectionRefusedError, FileNotFoundError):
            if time.monotonic() > end:
                raise
            time.sleep(_RETRY)  # a socket that begins to listen tells nobody
        else:
            return


class Conversation:
    """A call that is asked back; a context manager. The worker sees its end as a word against."""

    def __init__(self, line: bytes) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _connect(self._socket)
            self._socket.sendall(line)
        except OSError as error:
            self._socket.close()
            raise WorkerUnavailable("the worker does not answer", str(error)) from error
        self._waiting = b""

    def tell(self, data: Mapping[str, Any]) -> None:
        """One line to the worker; raises WorkerUnavailable."""
        try:
            self._socket.sendall(json.dumps(data).encode() + b"\n")
        except OSError as error:
            raise WorkerUnavailable("the worker is gone", str(error)) from error

    def hear(self, limit: float) -> dict[str, Any]:
        """The worker's next line, empty where none comes within `limit` seconds; raises WorkerUnavailable."""
        end = time.monotonic() + limit
        while b"\n" not in self._waiting:
            if not select.select([self._socket], [], [], max(0.0, end - time.monotonic()))[0]:
                return {}
            try:
                got = self._socket.recv(1 << 16)
            except OSError as error:
                raise WorkerUnavailable("the worker is gone", str(error)) from error
            if not got:
                raise WorkerUnavailable("the worker is gone")
            self._waiting += got
        line, _, self._waiting = self._waiting.partition(b"\n")
        try:
            return dict(json_text.loads(line))
        except (ValueError, TypeError) as error:
            raise WorkerUnavailable("the worker said what is not understood", f"{error!s:.200}") from error

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(line: bytes, *, say: Callable[[str], None]) -> Answer:
    """Send a request and wait for its end; raises WorkerUnavailable. The work goes on when the caller goes away."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            _connect(connection)
            connection.sendall(line)
            with connection.makefile("r", encoding="utf-8") as lines:
                for text in lines:
                    found = answer(text)
                    if isinstance(found, Answer):
                        return found
                    if found is not None:
                        say(found)
    except PermissionError as error:
        raise WorkerUnavailable("the worker cannot be asked", "only root may") from error
    except (OSError, ValueError) as error:
        raise WorkerUnavailable(
            "the worker does not answer", str(error), hint="systemctl status guardian-worker"
        ) from error
    raise WorkerUnavailable(
        "the worker ended before the work was done", hint="journalctl -u guardian-worker; guardianctl list"
    )
