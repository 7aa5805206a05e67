"""The worker's calls: each asks for one job, whose lines and results go back to the one who asked.

Protocol on /run/guardian/worker.sock, JSON a line:
    -> {"call": NAME, "containers": [NAME...], "leave_running": BOOL, "start": BOOL, "plain": BOOL}
    <- {"accepted": true}, {"say": TEXT}..., {"done": STATUS, "results": [...], "error": {"name":, "text":} | null}
A call that is refused is never accepted, and a list is answered at once. Lines of another kind are for clients to come.
With "plain" (the units' small C client) the answers are `say TEXT`, `extend SECONDS`, `exit STATUS`.
Statuses: 0 done, 1 failed, 3 partly, 4 refused.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import Any

from guardian.model.errors import BadInput
from guardian.model.outcome import Outcome, Result


class Call(enum.Enum):
    """What the worker can be asked for. The last three are systemd's."""

    LIST = "list"
    CHECKPOINT = "checkpoint"
    RESTORE = "restore"
    RELEASE = "release"
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
class Request:
    """One call as it came over the socket."""

    call: Call
    containers: tuple[str, ...]
    leave_running: bool
    start: bool
    plain: bool


def parse(text: str) -> Request:
    """The request in one line; raises BadInput."""
    try:
        data: Any = json.loads(text)
        names = data.get("containers", [])
        if not isinstance(names, list) or not all(isinstance(item, str) and item for item in names):
            raise BadInput("the request does not parse", "containers must be a list of names")
        flags = {key: data.get(key, False) for key in ("leave_running", "start", "plain")}
        for key, value in flags.items():
            if not isinstance(value, bool):
                raise BadInput("the request does not parse", f"{key} must be true or false")
        return Request(Call(data["call"]), tuple(names), **flags)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadInput("the request does not parse", str(error)) from error


def status_of(call: Call, results: list[Result]) -> Status:
    """Done where every result is good, failed where none is, else partly. Released ones are to start cold."""
    wrong = (Outcome.FAILED,) if call is Call.RELEASE else (Outcome.FAILED, Outcome.COLD)
    bad = sum(result.outcome in wrong for result in results)
    if not bad:
        return Status.DONE
    return Status.FAILED if bad == len(results) else Status.PARTLY
