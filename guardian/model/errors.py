"""The errors guardian raises on purpose: each says what, why and what to do."""

from __future__ import annotations


class GuardianError(Exception):
    """A failure a person can act on.

    `name` is the last part of the D-Bus error name and stable; `what`, `why` and `hint`
    are sentences without a final full stop. `hint` may be empty.
    """

    name = "Failed"

    def __init__(self, what: str, why: str = "", *, hint: str = "") -> None:
        self.what = what
        self.why = why
        self.hint = hint
        super().__init__(self.text())

    def text(self) -> str:
        """The error as one line."""
        line = self.what if not self.why else f"{self.what}: {self.why}"
        return line if not self.hint else f"{line} ({self.hint})"


class UnknownContainer(GuardianError):
    """No container has this name or id."""

    name = "UnknownContainer"


class NotGuarded(GuardianError):
    """The container exists and is not guarded."""

    name = "NotGuarded"


class AlreadyRunning(GuardianError):
    """A restore was asked for a container that runs."""

    name = "AlreadyRunning"


class NoCheckpoint(GuardianError):
    """There is no checkpoint that may be restored."""

    name = "NoCheckpoint"


class Busy(GuardianError):
    """Another job works on the same container."""

    name = "Busy"


class CannotSave(GuardianError):
    """The container cannot be checkpointed, and it was found out beforehand."""

    name = "CannotSave"


class BadInput(GuardianError):
    """A label, a configuration, a request or a file does not parse."""

    name = "BadInput"


class StoreError(GuardianError):
    """The store has no space, no permission or a record that is not understood."""

    name = "StoreError"


class EngineUnavailable(GuardianError):
    """dockerd does not answer."""

    name = "EngineUnavailable"
