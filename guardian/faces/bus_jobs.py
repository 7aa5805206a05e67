"""The jobs of the bus face: each follows one call of the worker's to its end, and can be read for a while after."""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from guardian.faces import bus_values
from guardian.faces.bus_interface import JOB, JOBS, NAME, ROOT
from guardian.faces.bus_worker import Conversation
from guardian.faces.jobs import Status
from guardian.faces.worker_client import Answer
from guardian.model.errors import GuardianError

log = logging.getLogger("guardian.bus")

KEPT = 60.0
"""For so many seconds a job stays readable after its end, as the XML promises."""

_LINES = 1000
_RESULTS = {
    Status.DONE: "done",
    Status.FAILED: "failed",
    Status.PARTLY: "partly",
    Status.REFUSED: "refused",
}


class Job:
    """One job and its properties."""

    def __init__(self, id: int, kind: str) -> None:
        self.id = id
        self.path = f"{JOBS}/{id}"
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._values: dict[str, Any] = {
            "Id": id,
            "Kind": kind,
            "State": "running",
            "LastLine": "",
            "Result": "",
            "Results": [],
            "Error": ["", ""],
        }

    @property
    def running(self) -> bool:
        """Whether its end is yet to come."""
        return bool(self._values["State"] == "running")

    @property
    def result(self) -> str:
        """How it ended; empty while it runs."""
        return str(self._values["Result"])

    def values(self) -> dict[str, Any]:
        """Its properties."""
        return self._values | {"Progress": list(self._lines)}

    def say(self, line: str) -> list[str]:
        """Take a line of progress; returns the properties that changed."""
        self._lines.append(bus_values.text(line))
        self._values["LastLine"] = self._lines[-1]
        return ["LastLine", "Progress"]

    def finish(self, answer: Answer) -> list[str]:
        """Take the end; returns the properties that changed."""
        changed = {
            "State": "finished",
            "Result": _RESULTS[answer.status],
            "Results": bus_values.results(answer.results),
        }
        if answer.error is not None:
            name, text = answer.error
            changed["Error"] = [bus_values.error_name(name), bus_values.text(text)]
        self._values |= changed
        return list(changed)


class Signals(Protocol):
    """Where jobs tell what becomes of them."""

    def emit(self, path: str, interface: str, member: str, *values: Any) -> None:
        """A signal of the XML's."""

    def changed(self, path: str, interface: str, values: dict[str, Any], names: Iterable[str]) -> None:
        """Properties have changed. `values`: all of them, `names`: which."""


class Jobs:
    """The jobs that run or have ended lately. `gone` is called each time one can no longer be read."""

    def __init__(self, signals: Signals, gone: Callable[[], None]) -> None:
        self._signals = signals
        self._gone = gone
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_id = first_id()

    def get(self, path: str) -> Job | None:
        """The job with this path."""
        return self._jobs.get(path)

    def paths(self) -> list[str]:
        """The paths of all jobs that can be read."""
        return list(self._jobs)

    def running(self) -> set[asyncio.Task[None]]:
        """What follows those that run."""
        return set(self._tasks)

    def begin(self, kind: str, conversation: Conversation, said: Answer | str | None) -> Job:
        """A job that follows a conversation to its end, and then hangs up. `said`: what was said already."""
        self._last_id = following(self._last_id)
        job = Job(self._last_id, kind)
        self._jobs[job.path] = job
        self._signals.emit(ROOT, NAME, "JobNew", job.id, job.path)
        task = asyncio.get_running_loop().create_task(self._follow(job, conversation, said))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def _follow(self, job: Job, conversation: Conversation, said: Answer | str | None) -> None:
        async with conversation:
            try:
                while not isinstance(said, Answer):
                    if said is not None:
                        self._tell(job, job.say(said))
                    said = await conversation.next()
                changed = job.finish(said)
            except GuardianError as error:
                changed = job.finish(_broken(error))
            except Exception as error:  # the job must end, whatever it is
                log.exception("job %d", job.id)
                changed = job.finish(_broken(GuardianError("guardian has failed", repr(error))))
        self._tell(job, changed)
        self._signals.emit(ROOT, NAME, "JobRemoved", job.id, job.path, job.result)
        log.info("job %d: %s", job.id, job.result)
        asyncio.get_running_loop().call_later(KEPT, self._forget, job)

    def _tell(self, job: Job, changed: list[str]) -> None:
        self._signals.changed(job.path, JOB, job.values(), changed)

    def _forget(self, job: Job) -> None:
        del self._jobs[job.path]
        self._gone()


def _broken(error: GuardianError) -> Answer:
    return Answer(Status.FAILED, [], (error.name, str(error)))


def first_id() -> int:
    """Where ids begin: they must not come again in this boot, though guardiand comes and goes and remembers nothing.

    So they begin at the time since boot, in hundredths of a second: no guardiand makes jobs faster than that.
    """
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100) % (1 << 32)


def following(id: int) -> int:
    """The id after this one: a u on the bus, never 0."""
    return (id + 1) % (1 << 32) or 1
