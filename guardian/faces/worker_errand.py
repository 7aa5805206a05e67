"""Errands of the bus at work: guardianctl in a process of its own, its lines and its end handed on."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pwd
import stat
import subprocess
import threading
import time
from typing import IO, Any

from guardian.faces import errands
from guardian.faces.caller import Caller
from guardian.faces.errands import Errand
from guardian.faces.incoming import Incoming
from guardian.faces.jobs import Call, Request, Status, parse
from guardian.host.command import CommandFailed
from guardian.model import json_text
from guardian.model.errors import BadInput, GuardianError
from guardian.model.outcome import Outcome, Result
from guardian.model.wording import printable
from guardian.work.host import Say

_MOST = 4 << 20
"""Characters of the JSON that is read."""
_LONGEST_LINE = 4096
_REST = 5.0
"""Seconds for the last lines once guardianctl has ended: what ssh left behind may hold the pipe."""
_USAGE = 2
_KINDS = (stat.S_ISREG, stat.S_ISFIFO, stat.S_ISSOCK, stat.S_ISBLK)


class ErrandFailed(GuardianError):
    """What guardianctl said was wrong, by the name that it gave."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        super().__init__(text)


@dataclasses.dataclass(frozen=True)
class _Ended:
    """How guardianctl ended: its exit status, what it printed, its last line of the other kind, and the seconds."""

    status: int
    output: str
    last: str
    seconds: float


def request_of(incoming: Incoming) -> tuple[Request, Errand | None, int | None]:
    """What is asked for: the request, its errand if it is one, and the descriptor if it needs one; raises BadInput."""
    request = parse(incoming.readline())
    descriptor = incoming.descriptor(needed=request.call in errands.WITH_FILE)
    if request.call not in errands.CALLS:
        return request, None, descriptor
    return request, errands.of(request.call, request.containers, request.errand), descriptor


def run(errand: Errand, incoming: Incoming, descriptor: int | None, caller: Caller) -> None:
    """Let guardianctl do it, to its end; raises BadInput or CommandFailed where it cannot even begin.

    It has a session of its own, and the worker's end is not its end.
    """
    if descriptor is not None:
        check(descriptor, writing=errand.call is Call.EXPORT)
    begun = time.monotonic()
    process = _started(errand, descriptor)
    incoming.close()  # guardianctl has the only one now: who reads the other end of a pipe sees its end
    caller.accept()
    output, last = _heard(process, caller.say)
    ended = _Ended(process.returncode, output, last, time.monotonic() - begun)
    status, results, error = outcome(errand.call, ended)
    caller.end(status, [result.to_json() for result in results], error)


def check(descriptor: int, *, writing: bool) -> None:
    """Raise BadInput for a descriptor that an archive cannot be written to or read from."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    mode = os.fstat(descriptor).st_mode
    access = flags & os.O_ACCMODE
    if flags & os.O_PATH or access not in (os.O_RDWR, os.O_WRONLY if writing else os.O_RDONLY):
        raise BadInput(f"the descriptor is not open for {'writing' if writing else 'reading'}")
    if not any(is_kind(mode) for is_kind in _KINDS):
        raise BadInput("the descriptor is of no file, pipe or socket")
    if flags & os.O_NONBLOCK and not stat.S_ISREG(mode):
        raise BadInput("the descriptor does not block", hint="clear O_NONBLOCK")


def _started(errand: Errand, descriptor: int | None) -> subprocess.Popen[str]:
    reads = errand.call is Call.IMPORT
    try:
        return subprocess.Popen(
            errand.command(descriptor),
            stdin=descriptor if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=() if reads or descriptor is None else (descriptor,),
            text=True,
            errors="replace",
            start_new_session=True,
            # A unit of the system's has none; what ssh's configuration runs may want it.
            env=os.environ | {"HOME": pwd.getpwuid(os.getuid()).pw_dir},
        )
    except OSError as error:
        raise CommandFailed("guardianctl does not start", str(error)) from error


def _heard(process: subprocess.Popen[str], say: Say) -> tuple[str, str]:
    """Hand on its lines until it ends; returns its output and the last line."""
    output: list[str] = []
    lines: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    threads = [
        threading.Thread(target=_keep, args=(process.stdout, output), name="output", daemon=True),
        threading.Thread(target=_hand_on, args=(process.stderr, lines, say), name="lines", daemon=True),
    ]
    for thread in threads:
        thread.start()
    process.wait()
    for thread in threads:
        thread.join(_REST)
    return "".join(output), "".join(lines)


def _keep(pipe: IO[str], output: list[str]) -> None:
    with pipe:
        output.append(pipe.read(_MOST))


def _hand_on(pipe: IO[str], last: list[str], say: Say) -> None:
    with pipe:
        while text := pipe.readline(_LONGEST_LINE):
            line = printable(text.strip().removeprefix("guardianctl: "))
            if line:
                last[:] = [line]
                say(line)


def outcome(call: Call, ended: _Ended) -> tuple[Status, list[Result], GuardianError | None]:
    """What the end of guardianctl is as the end of a job."""
    try:
        facts = json_text.loads(ended.output or "{}")
        results = _results(call, facts, ended.seconds)
        error = _error(facts)
    except (ValueError, LookupError, TypeError, AttributeError, GuardianError) as problem:
        text = "what guardianctl printed is not understood"
        return Status.FAILED, [], GuardianError(text, printable(str(problem)))
    status = Status.REFUSED if ended.status == _USAGE else _STATUSES.get(ended.status, Status.FAILED)
    if error is None and status in (Status.FAILED, Status.REFUSED) and not results:
        name = BadInput.name if status is Status.REFUSED else GuardianError.name
        error = ErrandFailed(name, ended.last or f"guardianctl ended with status {ended.status}")
    return status, results, error


_STATUSES = {status.value: status for status in Status}


def _error(facts: dict[str, Any]) -> GuardianError | None:
    error = facts.get("error")
    return None if error is None else ErrandFailed(str(error["name"]), str(error["text"]))


def _results(call: Call, facts: dict[str, Any], seconds: float) -> list[Result]:
    """Those that it lists, or the one that an export or a held import comes to."""
    if call is Call.MIGRATE or "results" in facts or not facts:
        return [Result.from_json(item) for item in facts.get("results") or ()]
    outcome, reason = Outcome.EXPORTED, ""
    if call is Call.IMPORT:
        lost = int(facts["connections"])
        outcome, reason = Outcome.IMPORTED, f"its {lost} connections will be closed" if lost else ""
    found = {key: facts[key] for key in ("container_id", "name", "checkpoint")}
    return [Result.from_json({**found, "outcome": outcome, "reason": reason, "seconds": round(seconds, 3)})]
