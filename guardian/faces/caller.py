"""Whoever asks the worker: gets lines, then the end, and may be asked back."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from guardian.faces.incoming import Incoming
from guardian.faces.jobs import Status
from guardian.model import json_text
from guardian.model.errors import BadInput, GuardianError
from guardian.model.wording import printable

log = logging.getLogger("guardian.worker")

_EXTENSION = 150
"""Seconds asked of systemd again and again while a job of a unit runs; the job's own budget is its limit."""
_EXTEND_EVERY = 10.0
_NOT_DONE = 70
"""Exit status for a unit whose call had no results at all: guardian-restore.service then calls the emergency unit."""
_LONGEST_JOB = 1140.0
"""Seconds after which no more time is asked for, whatever the job is doing: reboot.target forces after 30 minutes."""


class Caller:
    """The one who asked: gets lines, then the end. A caller that went away does not stop the work."""

    def __init__(self, connection: socket.socket, incoming: Incoming, *, plain: bool = False) -> None:
        self._connection = connection
        self._incoming = incoming
        self.plain = plain
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """One line of progress, to the journal as well."""
        text = printable(text)
        log.info("%s", text)
        if self.plain:
            self._send(f"say guardian: {text}\n")
        else:
            self._send(json.dumps({"say": text}) + "\n")

    @contextlib.contextmanager
    def kept_waiting(self) -> Iterator[None]:
        """Ask systemd for more time while the work goes on."""
        ended = threading.Event()

        def extend() -> None:
            for _ in range(int(_LONGEST_JOB / _EXTEND_EVERY)):
                if ended.wait(_EXTEND_EVERY):
                    return
                self._send(f"extend {_EXTENSION}\n")

        if self.plain:
            threading.Thread(target=extend, name="extend", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def accept(self) -> None:
        """The call is not refused: its work begins."""
        if not self.plain:
            self._send(json.dumps({"accepted": True}) + "\n")

    def tell(self, data: Mapping[str, Any]) -> None:
        """One line of a conversation."""
        self._send(json.dumps(data) + "\n")

    def hear(self, limit: float) -> dict[str, Any]:
        """One line of a conversation; empty where none comes within `limit` seconds, or none that is understood."""
        if not self._incoming.ready(limit):
            return {}
        try:
            found = json_text.loads(self._incoming.readline())
        except (OSError, ValueError, BadInput):
            return {}
        return found if isinstance(found, dict) else {}

    def end(self, status: Status, results: Any, error: GuardianError | None = None) -> None:
        """The last answer."""
        if self.plain:
            if error is not None:
                self._send(f"say guardian: {printable(str(error))}\n")
            self._send(f"exit {status.value if error is None else _NOT_DONE}\n")
            return
        shown = None if error is None else {"name": error.name, "text": str(error)}
        self._send(json.dumps({"done": status.value, "results": results, "error": shown}) + "\n")

    def _send(self, text: str) -> None:
        with self._lock:
            try:
                self._connection.sendall(text.encode())
            except OSError:
                return
