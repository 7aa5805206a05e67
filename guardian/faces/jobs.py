"""The worker's calls: each asks for one job, whose lines and results go back to the one who asked.

Protocol on /run/guardian/worker.sock, JSON a line:
    -> {"call": NAME, "containers": [NAME...], "start": BOOL, "force": BOOL, "note": TEXT, "plain": BOOL,
        "pre_dump": NUMBER,
        "move": {"id": HEX, "host": TEXT, "limit": SECONDS, "addresses": [...]},
        "errand": {"host": TEXT, "options": {...}}}
    <- {"accepted": true}, {"say": TEXT}..., {"done": STATUS, "results": [...], "error": {"name":, "text":} | null}
`containers` are checkpoints where those are removed; `leave_running`: what older clients say for the call snapshot.
A call that is refused is never accepted; `list`, `plan` and `find` (is there such a container, does it run) are
answered at once. Lines of another kind are for clients to come. `depart` (with a move) is a conversation,
`work/departure.py`.
`export`, `import` and `migrate` are errands (`errands.py`); the first two come with a descriptor (SCM_RIGHTS), beside
the request's first bytes. No other call may have one.
With "plain" (the units' small C client) the answers are `say TEXT`, `extend SECONDS`, `exit STATUS`.
Statuses: 0 done, 1 failed, 3 partly, 4 refused.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import Any

from guardian.model import json_text, steps
from guardian.model.connections import address
from guardian.model.errors import BadInput
from guardian.model.outcome import Outcome, Result

MOST_NOTE = 1000
"""Characters of a note."""


class Call(enum.Enum):
    """What the worker can be asked for. The last three are systemd's."""

    LIST = "list"
    PLAN = "plan"
    FIND = "find"
    INSPECT = "inspect"
    CHECKPOINT = "checkpoint"
    SNAPSHOT = "snapshot"
    REMOVE = "remove"
    RESTORE = "restore"
    RELEASE = "release"
    EXPORT = "export"
    IMPORT = "import"
    MIGRATE = "migrate"
    DEPART = "depart"
    ARRIVE = "arrive"
    ENGINE_STOPS = "engine-stops"
    ENGINE_DIED = "engine-died"
    ENGINE_IS_UP = "engine-is-up"


class Status(enum.IntEnum):
    """How a call ended; the exit status of guardianctl."""

    DONE = 0
    FAILED = 1
    PARTLY = 3
    REFUSED = 4


@dataclasses.dataclass(frozen=True)
class Move:
    """Which move a call belongs to: its id, the other host, and the seconds that a frozen container waits at most."""

    id: str
    host: str
    limit: float
    addresses: tuple[str, ...] = ()
    """Addresses of this host that go along."""


_NO_MOVE = Move("", "", 0.0)
_MOVE_ID = re.compile(r"[0-9a-f]{32}")
MOST_WAIT = 86400.0


@dataclasses.dataclass(frozen=True)
class Request:
    """One call as it came over the socket."""

    call: Call
    containers: tuple[str, ...]
    start: bool
    force: bool
    note: str
    plain: bool
    move: Move = _NO_MOVE
    pre_dump: int | None = None
    """How often memory is written ahead; None where the labels say."""
    errand: Any = None
    """As it came; `errands.of` looks at it."""


def parse(text: str) -> Request:
    """The request in one line; raises BadInput."""
    try:
        data: Any = json_text.loads(text)
        names = data.get("containers", [])
        if not isinstance(names, list) or not all(isinstance(item, str) and item for item in names):
            raise BadInput("the request does not parse", "containers must be a list of names")
        flags = {key: data.get(key, False) for key in ("leave_running", "start", "force", "plain")}
        for key, value in flags.items():
            if not isinstance(value, bool):
                raise BadInput("the request does not parse", f"{key} must be true or false")
        note = data.get("note", "")
        if not isinstance(note, str) or len(note) > MOST_NOTE:
            raise BadInput(
                "the request does not parse", f"note must be a text of at most {MOST_NOTE} characters"
            )
        pre_dump = data.get("pre_dump")
        if pre_dump is not None and (type(pre_dump) is not int or not 0 <= pre_dump <= steps.MOST):
            raise BadInput("the request does not parse", f"pre_dump must be 0 to {steps.MOST}")
        call = Call(data["call"])
        if flags.pop("leave_running") and call is Call.CHECKPOINT:
            call = Call.SNAPSHOT
        move = _move(data["move"]) if call is Call.DEPART else _NO_MOVE
        return Request(
            call, tuple(names), note=note, move=move, pre_dump=pre_dump, errand=data.get("errand"), **flags
        )
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
        raise BadInput("the request does not parse", str(error)) from error


def _move(data: Any) -> Move:
    addresses = tuple(str(address(str(item))) for item in data.get("addresses") or ())
    found = Move(str(data["id"]), str(data["host"]), float(data["limit"]), addresses)
    if not _MOVE_ID.fullmatch(found.id) or len(found.host) > 255 or not 0 < found.limit <= MOST_WAIT:
        raise BadInput("the request does not parse", "move needs an id, a host and a limit")
    return found


def status_of(call: Call, results: list[Result]) -> Status:
    """Done where every result is good, failed where none is, else partly. Released ones are to start cold."""
    wrong = (Outcome.FAILED,) if call is Call.RELEASE else (Outcome.FAILED, Outcome.COLD)
    bad = sum(result.outcome in wrong for result in results)
    if not bad:
        return Status.DONE
    return Status.FAILED if bad == len(results) else Status.PARTLY


def status_of_plan(savable: int, planned: int, *, fits: bool) -> Status:
    """How a plan ends: failed where nothing can be saved or not in time, partly where some cannot."""
    if planned and (not savable or not fits):
        return Status.FAILED
    return Status.DONE if savable == planned else Status.PARTLY
