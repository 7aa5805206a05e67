"""Whether what guardian decides at the boot after a cut is what it had promised by then."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

from guardian.model.states import State
from tests.power.facts import Look, Recording


class Window(enum.Enum):
    """Where in a recording a cut lies."""

    BEFORE = "counting, before a checkpoint"
    DUMPING = "frozen, up to the commit"
    COMMITTED = "committed, not yet said to be saved"
    SAVED = "saved, nothing restored yet"
    RESTORING = "being restored"
    SPENT = "spent is being written"
    RESUMED = "resumed, counting"


class Decision(enum.Enum):
    """What the next boot does."""

    RESTORE = "restore"
    COLD_WITHOUT = "cold: no checkpoint of this run"
    COLD_INCOMPLETE = "cold: not complete"
    COLD_SPENT = "cold: may have run"
    COLD_STALE = "cold: files changed"
    COLD_STARTED = "cold: started since"


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a cut has left."""

    decision: Decision
    checkpoint: str
    """The one that the decision is about; empty where there is none."""
    problems: tuple[str, ...]


class Timeline:
    """What had been promised by which entry of the log: from marks that were written after it was told outside."""

    def __init__(self, marks: Sequence[tuple[int, str]]) -> None:
        self._told = [(number, text) for number, text in marks if not text.startswith("ledger ")]
        self._ledger = {text.removeprefix("ledger "): number for number, text in marks}
        self.begin = next(number for number, text in marks if text == "begin")
        self.end = next(number for number, text in marks if text == "end")
        self.interesting = [
            number for number, text in marks if self.begin <= number and text.startswith("ledger ")
        ]
        verdicts = sorted(
            (number, text.split()[2]) for number, text in marks if text.startswith("ledger verdict")
        )
        self.checkpoints = [checkpoint for number, checkpoint in verdicts if number > self.begin]

    def window(self, position: int) -> Window:
        """Where a cut lies. Steps of the ledger are marked a moment after they could be seen."""
        said = [text for number, text in self._told if number < position]
        last = said[-1]
        if last in ("resumed", "counted", "end"):
            return Window.RESUMED
        current = self.current(position)
        if last in ("begin", "reboot", "checkpoint"):
            if self._before(position, "verdict", current):
                return Window.COMMITTED
            return Window.DUMPING if self._before(position, "frozen", current) else Window.BEFORE
        if self._before(position, "spent", current):
            return Window.SPENT
        return Window.RESTORING if self._before(position, "ticketed", current) else Window.SAVED

    def current(self, position: int) -> str:
        """The checkpoint that is being made, waits, or was restored last."""
        made = [text for number, text in self._told if number < position and text in ("reboot", "checkpoint")]
        return self.checkpoints[max(0, len(made) - 1)]

    def promised(self, position: int) -> str:
        """The checkpoint that had been said to be saved by then, and that nobody had begun to spend; or empty."""
        if self.window(position) in (Window.SAVED, Window.RESTORING):
            current = self.current(position)
            proven = self._ledger.get(f"proven {current}", 0)
            return current if position < proven - _LAG else ""
        return ""

    def _before(self, position: int, state: str, checkpoint: str) -> bool:
        number = self._ledger.get(f"{state} {checkpoint}")
        return number is not None and number < position


_LAG = 40
"""Entries by which a mark of the ledger may come late."""


_RAN = {state.value for state in (State.SPENT, State.RUNNING, State.DONE)}


class Judge:
    """Judges cuts of one recording."""

    def __init__(self, recording: Recording, timeline: Timeline) -> None:
        self._recording = recording
        self._timeline = timeline

    def judge(self, look: Look, position: int) -> Seen:
        """Compare what guardian decides with what is true and what had been promised."""
        decision = self._decision(look)
        problems = []
        if look.held != bool(look.pending):
            problems.append(f"hold: the hold script says {look.held}, the ledger {look.pending or 'nothing'}")
        if decision is Decision.RESTORE:
            problems += self._compare(look)
        problems += self._promises(decision, look.pending, position)
        if decision is Decision.COLD_STALE and self._compare(look) == []:
            problems.append(f"reason: nothing has changed: {look.stale}")
        return Seen(decision, look.pending if decision is Decision.RESTORE else look.newest, tuple(problems))

    def _decision(self, look: Look) -> Decision:
        if look.waits and look.stale:
            return Decision.COLD_STALE
        if look.waits:
            return Decision.RESTORE
        if look.pending:
            return Decision.COLD_STARTED
        if look.newest not in self._recording.images:
            return Decision.COLD_WITHOUT
        if look.state in _RAN:
            return Decision.COLD_SPENT
        return Decision.COLD_INCOMPLETE

    def _compare(self, look: Look) -> list[str]:
        """What is wrong with restoring it."""
        whole = self._recording.images.get(look.pending)
        if whole is None:
            return [f"image: {look.pending} would be restored again"]
        problems = []
        wrong = sorted(name for name in whole.files if look.image.get(name) != whole.files[name])
        if wrong or look.image.keys() - whole.files.keys():
            told = (
                f"{len(wrong)} of {len(whole.files)} files ({', '.join(wrong[:2])})"
                if wrong
                else "more files"
            )
            problems.append(f"image: {told} not as dumped")
        for name, (process, step) in look.steps.items():
            if process != whole.process:
                problems.append(f"volume: {name} is of another process")
            elif whole.step - step > 1:
                problems.append(f"memory is ahead: {whole.step} of {name} {step}")
            elif whole.step < step:
                problems.append(f"ran twice: {name} {step} is ahead of memory {whole.step}")
        return problems

    def _promises(self, decision: Decision, name: str, position: int) -> list[str]:
        window = self._timeline.window(position)
        promised = self._timeline.promised(position)
        restores = name if decision is Decision.RESTORE else ""
        if promised and restores != promised:
            return [f"lost: {promised} was said to be saved, and the decision is {decision.value}"]
        if restores and window is Window.RESUMED:
            return [f"ran twice: {restores} was resumed"]
        if decision is Decision.COLD_SPENT and window in (Window.COMMITTED, Window.SAVED):
            return ["reason: nothing had been restored"]
        if decision is Decision.COLD_INCOMPLETE and window in (Window.SAVED, Window.RESTORING, Window.SPENT):
            return ["reason: it was complete"]
        return []
