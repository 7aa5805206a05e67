"""What can go wrong with a test machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

SHOWN = 6000
"""Characters of each output that an error's text shows; the attributes keep everything."""


class MachineError(Exception):
    """A test machine could not be built, started or used."""


class TimedOut(MachineError):
    """Something did not happen before its time limit."""


class CommandFailed(MachineError):
    """A command ended with an unexpected status, or not in time (status `None`)."""

    def __init__(
        self, argv: Sequence[str] | str, status: int | None, stdout: str, stderr: str, *, where: str = "here"
    ) -> None:
        self.command = argv if isinstance(argv, str) else shlex.join(argv)
        self.status = status
        self.stdout = stdout
        self.stderr = stderr
        self.where = where
        super().__init__(self._text())

    def _text(self) -> str:
        ended = "did not end in time" if self.status is None else f"ended with status {self.status}"
        parts = [f"{self.where}: `{self.command}` {ended}"]
        for name, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            if text.strip():
                parts.append(f"--- {name}\n{text.rstrip()[-SHOWN:]}")
        return "\n".join(parts)
