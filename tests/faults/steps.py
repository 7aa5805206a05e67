"""The table's rows and columns as data: steps, faults, triggers, which cells cannot be, and what each must come to."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from guardian.model.states import State
from tests.faults.gate import Wanted, image_is_opened, mark_is_there

DUMP = frozenset({"runc", "criu"})
SCRIPT = DUMP | {"script"}
NOBODY: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Step:
    """A moment of a checkpoint's life. `living`: who of runc, CRIU and the script works on it at that moment."""

    wanted: Wanted
    living: frozenset[str]
    resume: bool = False


def _mark(state: State, living: frozenset[str] = NOBODY, *, resume: bool = False) -> Step:
    return Step(mark_is_there(state.value), living, resume)


STEPS: Mapping[str, Step] = {
    "frozen": _mark(State.FROZEN),
    "locked": _mark(State.LOCKED),
    "imaging": Step(image_is_opened(r"pages-\d+\.img", "locked"), DUMP),
    "dumped": _mark(State.DUMPED, SCRIPT),
    "durable": _mark(State.DURABLE, SCRIPT),
    "held": _mark(State.HELD, SCRIPT),
    "verdict": Step(mark_is_there("verdict"), SCRIPT),
    "committed": _mark(State.COMMITTED),
    "killed": _mark(State.KILLED),
    "ticketed": _mark(State.TICKETED, resume=True),
    "restoring": _mark(State.RESTORING, resume=True),
    "reading": Step(image_is_opened(r"pagemap-\d+\.img", "restoring"), DUMP, True),
    "proven": _mark(State.PROVEN, SCRIPT, resume=True),
    "spent": _mark(State.SPENT, SCRIPT, resume=True),
    "running": _mark(State.RUNNING, resume=True),
    "done": _mark(State.DONE, resume=True),
}
"""In the order of a life. A mark's step is the instant between its name being there and its fsync; `imaging` and
`reading` are CRIU's opens of its images; `verdict` is the link of the script, before CRIU kills."""

_ORDER = list(STEPS)


class Trigger(enum.Enum):
    """What began it."""

    COMMAND = "command"
    """`guardianctl checkpoint` and `guardianctl restore`."""

    BUS = "bus"
    """The same over D-Bus."""

    RESTART = "restart"
    """`systemctl restart docker.service`."""

    REBOOT = "reboot"
    """`systemctl reboot`; a resume at boot is not looked at apart, `restart` runs the same one."""


class Strike(enum.Enum):
    """What is done."""

    KILL = "the process is killed"
    STOP = "the process is stopped; seconds later an administrator restarts docker.service"
    CRASH = "the power fails"
    UPS = "the step takes 15 seconds, 5 seconds later the power fails"
    FULL = "the store is full until all is over"
    READ_ONLY = (
        "the store's file system turns read-only, as after an error of its own; the next boot mounts it anew"
    )
    BROKEN = "all that is asked of the store fails with EIO from then on; the next boot mounts it anew"
    ONE_EIO = "this one call, the open of the step, fails with EIO"
    ONE_ENOSPC = "this one call, the open of the step, fails with ENOSPC"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What strikes: a process that is killed or stopped, the disk, or the host. `triggers`: what it is tried with."""

    triggers: tuple[Trigger, ...]
    process: str = ""
    strikes: Strike = Strike.KILL
    reason: str = ""
    """What the reason of a container that came to be cold must say, as a regular expression."""


_ALL = (Trigger.COMMAND, Trigger.RESTART, Trigger.REBOOT)
_MAY_HAVE_RUN = "may have run"
_CRASHED = f"{_MAY_HAVE_RUN}|host .*went down"
_DISK = f"{_CRASHED}|[Nn]o space|[Rr]ead-only|Input/output|cannot be (written|read)"
FAULTS: Mapping[str, Fault] = {
    "worker": Fault(_ALL, "worker", reason=_MAY_HAVE_RUN),
    "bus face": Fault((Trigger.BUS,), "guardiand"),
    "dockerd": Fault(_ALL, "dockerd", reason=_MAY_HAVE_RUN),
    "containerd": Fault(_ALL, "containerd", reason=_MAY_HAVE_RUN),
    "runc": Fault(_ALL, "runc", reason=_MAY_HAVE_RUN),
    "script": Fault(_ALL, "script", reason=_MAY_HAVE_RUN),
    "criu": Fault(_ALL, "criu", reason=_MAY_HAVE_RUN),
    "dockerd stopped": Fault((Trigger.RESTART, Trigger.REBOOT), "dockerd", Strike.STOP, _MAY_HAVE_RUN),
    "crash": Fault((Trigger.RESTART,), strikes=Strike.CRASH, reason=_CRASHED),
    "ups": Fault((Trigger.REBOOT,), strikes=Strike.UPS, reason=_CRASHED),
    "full": Fault((Trigger.COMMAND, Trigger.RESTART), strikes=Strike.FULL, reason=_DISK),
    "read-only": Fault((Trigger.COMMAND, Trigger.RESTART), strikes=Strike.READ_ONLY, reason=_DISK),
    "EIO": Fault((Trigger.COMMAND, Trigger.RESTART), strikes=Strike.BROKEN, reason=_DISK),
    "one EIO": Fault((Trigger.COMMAND, Trigger.RESTART), strikes=Strike.ONE_EIO, reason=_DISK),
    "one ENOSPC": Fault((Trigger.COMMAND, Trigger.RESTART), strikes=Strike.ONE_ENOSPC, reason=_DISK),
}
DISK = (Strike.FULL, Strike.READ_ONLY, Strike.BROKEN, Strike.ONE_EIO, Strike.ONE_ENOSPC)
MOUNTED_ANEW = (Strike.READ_ONLY, Strike.BROKEN)
"""Strikes that last until the next boot."""


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """One fault at one step of what a trigger began."""

    step: str
    fault: str
    trigger: str

    def __str__(self) -> str:
        return f"{self.step} / {self.fault} / {self.trigger}"


def cells() -> list[Cell]:
    """All cells that the table has, those that cannot be too."""
    return [
        Cell(step, name, trigger.value)
        for trigger in Trigger
        for step in STEPS
        for name, fault in FAULTS.items()
        if trigger in fault.triggers
    ]


def impossible(cell: Cell) -> str:
    """Why there is no such moment; empty where there is."""
    step, fault = STEPS[cell.step], FAULTS[cell.fault]
    if fault.process in ("runc", "criu", "script") and fault.process not in step.living:
        return f"no {fault.process} is at work on a checkpoint that is {cell.step}"
    if cell.trigger == Trigger.REBOOT.value and step.resume:
        return "the resume after a boot is the one after a restart"
    return ""


class Floor(enum.Enum):
    """What a cell must come to at least."""

    KEPT = "resumed or ran on"
    ALIVE = "ran on, connections alive"
    GRACEFUL = "resumed, ran on or stopped gracefully"
    SAID = "resumed, ran on, or cold with a true reason"


def floor(cell: Cell) -> Floor:
    """The issue's floors."""
    at = _ORDER.index(cell.step)
    spent, committed = _ORDER.index("spent"), _ORDER.index("committed")
    if FAULTS[cell.fault].strikes in DISK:
        return Floor.GRACEFUL if at < committed else Floor.SAID
    if FAULTS[cell.fault].strikes is Strike.UPS:
        return Floor.SAID
    if FAULTS[cell.fault].strikes is Strike.CRASH:
        return Floor.KEPT if committed <= at < spent else Floor.SAID
    # From `spent` on it may have run: without CRIU it does not go on, and without dockerd nobody takes the answer.
    over_it = STEPS[cell.step].living | {"dockerd", "containerd"}
    if at > spent or (at == spent and FAULTS[cell.fault].process in over_it):
        return Floor.SAID
    if cell.fault == "criu" and at < _ORDER.index("verdict"):
        return Floor.ALIVE
    return Floor.KEPT
