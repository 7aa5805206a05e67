"""The life of one checkpoint as one explicit state machine, and how a ledger on disk is read as a state.

The ledger of a checkpoint is a folder with one small file for each state reached (the file's name is the
state's value) and one file `verdict` whose content is `commit` or `void`. A power cut leaves any part of them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping

Marks = frozenset[str]
"""The names of the files found in a checkpoint's ledger. Names that are no state are ignored."""

FORMAT = 1
"""The format that is written: of records, holds, tickets, fences and the holder's protocol."""


def readable(format: int) -> bool:
    """Whether something of this format may be acted upon: the current one and the one before it."""
    return format in (FORMAT, FORMAT - 1) and format > 0


class Purpose(enum.Enum):
    """What a checkpoint was made for. Only SUSPEND is held, and restored by itself."""

    SUSPEND = "suspend"
    SNAPSHOT = "snapshot"


class Verdict(enum.Enum):
    """What was decided in CRIU's post-dump script, once and for ever."""

    COMMIT = "commit"
    VOID = "void"


class State(enum.Enum):
    """The states of a checkpoint. The first fourteen are the main line, in order; the others lie aside."""

    FROZEN = "frozen"
    LOCKED = "locked"
    DUMPED = "dumped"
    DURABLE = "durable"
    HELD = "held"
    COMMITTED = "committed"
    KILLED = "killed"
    TICKETED = "ticketed"
    RESTORING = "restoring"
    PROVEN = "proven"
    ARRIVED = "arrived"
    SPENT = "spent"
    RUNNING = "running"
    DONE = "done"
    VOID = "void"
    TAINTED = "tainted"
    ORPHANED = "orphaned"
    EXPIRED = "expired"
    MOVED = "moved"


DEPARTING = "departing"
"""The mark, no state, of a record whose commit gives the container to another host (`moved`)."""

MEANING: Mapping[State, str] = {
    State.FROZEN: "the cgroup is frozen",
    State.LOCKED: "the network namespace is locked",
    State.DUMPED: "CRIU's image is complete",
    State.DURABLE: "image and written file systems are on disk",
    State.HELD: "starts without a ticket are refused",
    State.COMMITTED: "the verdict is commit",
    State.KILLED: "the container is dead",
    State.TICKETED: "the next create may restore",
    State.RESTORING: "a create has taken the ticket",
    State.PROVEN: "the memory is back, nothing has run",
    State.ARRIVED: "its source has given it up for this host",
    State.SPENT: "may have run, never restored again",
    State.RUNNING: "the container runs",
    State.DONE: "nothing is left to do",
    State.VOID: "given up, the container went on",
    State.TAINTED: "CRIU died in the middle",
    State.ORPHANED: "kept, belongs to no container any more",
    State.EXPIRED: "the hold ended by time",
    State.MOVED: "another host has it, it is held here",
}

WAYS_OUT: Mapping[State, frozenset[State]] = {
    State.FROZEN: frozenset({State.LOCKED, State.VOID}),
    State.LOCKED: frozenset({State.DUMPED, State.VOID, State.TAINTED}),
    # COMMITTED: a snapshot is written out once its container runs again.
    State.DUMPED: frozenset({State.DURABLE, State.COMMITTED, State.VOID, State.TAINTED}),
    State.DURABLE: frozenset({State.HELD, State.VOID, State.TAINTED}),
    State.HELD: frozenset({State.COMMITTED, State.MOVED, State.VOID, State.TAINTED}),
    # VOID: it was thawed after the commit and has run. TAINTED: the same, with sockets left in repair mode.
    # DONE: a snapshot, which ran on.
    State.COMMITTED: frozenset({State.KILLED, State.DONE, State.VOID, State.TAINTED}),
    # SPENT, here and below: the container was started cold.
    # ARRIVED, here and below: it came from another host, which was asked once more.
    State.KILLED: frozenset({State.TICKETED, State.ARRIVED, State.SPENT, State.ORPHANED, State.EXPIRED}),
    # KILLED: the ticket was withdrawn.
    State.TICKETED: frozenset({State.RESTORING, State.KILLED, State.SPENT, State.ORPHANED, State.EXPIRED}),
    # TICKETED, here and below: the restore failed before anything ran, and the image is still good.
    State.RESTORING: frozenset({State.PROVEN, State.TICKETED, State.SPENT, State.ORPHANED, State.EXPIRED}),
    State.PROVEN: frozenset({State.ARRIVED, State.SPENT, State.TICKETED, State.ORPHANED, State.EXPIRED}),
    State.ARRIVED: frozenset({State.SPENT, State.TICKETED, State.ORPHANED, State.EXPIRED}),
    State.SPENT: frozenset({State.RUNNING, State.DONE, State.ORPHANED}),
    State.RUNNING: frozenset({State.DONE}),
    State.DONE: frozenset(),
    # Sockets healed and looked at, or the container stopped: either way it is over.
    State.TAINTED: frozenset({State.VOID, State.ORPHANED}),
    # The verdict alone makes a record void; CRIU may still die while it rolls back.
    State.VOID: frozenset({State.TAINTED}),
    State.EXPIRED: frozenset({State.ORPHANED}),
    State.ORPHANED: frozenset(),
    # A person has it started here all the same.
    State.MOVED: frozenset({State.ORPHANED}),
}

_ASIDE = (State.VOID, State.ORPHANED, State.EXPIRED, State.TAINTED, State.MOVED)
"""The states aside, the latest first: where a ledger has several, the first one here counts."""

_MAIN = tuple(state for state in State if state not in _ASIDE)
_AFTER_COMMIT = frozenset(
    {
        *(State.COMMITTED, State.KILLED, State.TICKETED),
        *(State.RESTORING, State.PROVEN, State.ARRIVED),
    }
)
_RAN = frozenset({State.SPENT, State.RUNNING, State.DONE})


def may(before: State, after: State) -> bool:
    """Whether a checkpoint may go from one state to another. Every step may be repeated."""
    return before is after or after in WAYS_OUT[before]


def state_of(marks: Marks, verdict: Verdict | None) -> State:
    """The state that a ledger shows: the latest reached; the states aside win.

    - A record without any mark counts as frozen: it was made just before the freeze.
    - The verdict is the commit, the mark `committed` alone is not: without a verdict nothing is later than
      `held`, except what says that the image may have run.
    - The verdict `void` makes the record void, unless it is tainted; the mark `void` ends that too.
    - The commit of a record that departs is the end of it here.
    """
    for state in _ASIDE:
        if state.value in marks:
            return state
    if verdict is Verdict.VOID:
        return State.VOID
    if verdict is Verdict.COMMIT and DEPARTING in marks:
        return State.MOVED
    reached = [state for state in _MAIN if state.value in marks]
    if verdict is Verdict.COMMIT:
        reached.append(State.COMMITTED)
    elif not _RAN.intersection(reached):
        reached = [state for state in reached if state not in _AFTER_COMMIT]
    return max(reached, key=_MAIN.index, default=State.FROZEN)


def restorable(purpose: Purpose, state: State, format: int) -> bool:
    """Whether the checkpoint may be restored by itself: committed, made to be resumed, and never run."""
    return purpose is Purpose.SUSPEND and state in _AFTER_COMMIT and readable(format)


class Aftermath(enum.Enum):
    """What is to be done about a checkpoint when CRIU and runc are gone, by looking at the container."""

    ROLL_BACK = "roll-back"
    """Not committed and alive: void, lift the hold, heal, unlock, thaw."""

    HELD = "held"
    """Committed and dead: it is held and waits for its restore."""

    KILL = "kill"
    """Committed, alive and frozen: kill the cgroup."""

    RAN_ON = "ran-on"
    """Committed, alive and thawed: it has run, so void, never restored."""

    DIED = "died"
    """Not committed and dead: it ended by itself; void, lift the hold."""


def aftermath(verdict: Verdict | None, alive: bool, frozen: bool) -> Aftermath:
    """What a look at the container means; exit codes of runc and CRIU decide nothing."""
    if verdict is not Verdict.COMMIT:
        return Aftermath.ROLL_BACK if alive else Aftermath.DIED
    if not alive:
        return Aftermath.HELD
    return Aftermath.KILL if frozen else Aftermath.RAN_ON


def dot() -> str:
    """The state machine as graphviz draws it."""
    return "\n".join(_dot_lines()) + "\n"


def _dot_lines() -> Iterator[str]:
    yield "// Made from guardian/model/states.py by docs/generate.py: do not edit."
    yield "digraph checkpoint {"
    yield '  rankdir=LR; node [shape=box, style="rounded,filled", fontname="sans-serif"];'
    for state in State:
        colour = "lightgrey" if state in _ASIDE else "palegreen" if state in _AFTER_COMMIT else "white"
        yield f'  {state.value} [label="{state.value}\\n{MEANING[state]}", fillcolor={colour}];'
    for state in State:
        for after in (each for each in State if each in WAYS_OUT[state]):
            onward = state in _MAIN and after in _MAIN and _MAIN.index(after) == _MAIN.index(state) + 1
            yield f"  {state.value} -> {after.value} [{'weight=9' if onward else 'style=dashed'}];"
    yield "}"
