"""Memory written ahead: once or more while the container still runs, so that its standstill is for what has changed.

Nothing depends on it. CRIU stops the processes for a moment each time, without a lock, a hold or a fence, and lets
them go before it writes. A step that fails has already forgotten which pages had changed since the one before it:
then all steps are dropped, and the dump is a full one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from guardian.host import chain, criu_features, durable, erasure, proc, runc
from guardian.host.cgroup import Cgroup
from guardian.host.checkpoint import Checkpoint
from guardian.host.command import run
from guardian.host.space import Room
from guardian.model import steps
from guardian.model.container import Container
from guardian.model.errors import CannotSave, GuardianError
from guardian.work import script
from guardian.work.host import Budget, Host, Say
from guardian.work.slots import Rank, Slots

log = logging.getLogger("guardian.checkpoint")

_SHARE_DOWN, _SHARE_BY_HAND = 0.25, 0.5
"""Of the time for the whole job: what is left after it is the dumps'."""
_LEAST = 1.0
"""Seconds below which no step is begun."""
_END_LIMIT = 20.0
"""Seconds for CRIU and runc to end once they are told to."""
NO_TRACKING = "this kernel has no soft-dirty tracking (CONFIG_MEM_SOFT_DIRTY)"
_NO_TIME = "there is too little time"


@dataclasses.dataclass(frozen=True)
class Ahead:
    """A container whose memory is to be written `count` times before its dump, which takes `size` bytes at most."""

    container: Container
    checkpoint: Checkpoint
    count: int
    size: int
    rank: Rank


@dataclasses.dataclass(frozen=True)
class Means:
    """What a job has for it. `hurried`: nobody waits, and what does not clearly fit is not begun."""

    host: Host
    budget: Budget
    slots: Slots
    room: Room
    hurried: bool

    def left(self) -> float:
        """Seconds for what is written ahead, never negative."""
        share = _SHARE_DOWN if self.hurried else _SHARE_BY_HAND
        return min(self.budget.left_of_share(share), self.host.config.container_timeout)


def write_ahead(means: Means, wanted: Sequence[Ahead], say: Say) -> None:
    """Write the memory of all who want it, at once; whoever cannot have it has a full dump, and it is said why."""
    asked = [item for item in wanted if item.count]
    if not asked:
        return
    with ThreadPoolExecutor(len(asked), thread_name_prefix="ahead") as pool:
        for item, why in zip(asked, pool.map(lambda item: _of_one(means, item), asked), strict=True):
            if why:
                say(f"{item.container.name}: nothing is written ahead: {why}")


def _of_one(means: Means, item: Ahead) -> str:
    """Returns why nothing was written ahead, empty where it was."""
    try:
        _refuse(means, item)
        for number in range(1, item.count + 1):
            if means.left() < _LEAST or not means.slots.acquire(item.rank, limit=means.left()):
                raise CannotSave(_NO_TIME)
            try:
                _step(item, number, limit=means.left())
            finally:
                means.slots.release()
        durable.write(item.checkpoint.folder / chain.AHEAD, f"{item.count}\n")
    except (GuardianError, OSError) as error:
        _drop(item.checkpoint)
        return str(error)
    except Exception as error:  # whatever it is, it must not cost the dump
        log.exception("%s", item.container.name)
        _drop(item.checkpoint)
        return repr(error)
    return ""


def _refuse(means: Means, item: Ahead) -> None:
    """Raises GuardianError where it cannot be, or could cost somebody the dump."""
    if not criu_features.tracks_memory():
        raise CannotSave(NO_TRACKING)
    if item.container.paused:
        raise CannotSave("it is paused, its memory does not change")
    if means.hurried and not steps.affordable(item.count, item.size, means.left()):
        raise CannotSave(_NO_TIME)
    if not means.room.take_more(item.count * item.size):
        raise CannotSave("there is too little room in the store")


def _step(item: Ahead, number: int, *, limit: float) -> None:
    """One step, on the disk when this returns: nothing of it is left for the standstill. Raises GuardianError."""
    known = runc.state(item.container.id)
    if known is None:
        raise CannotSave("it has ended")
    begun, folder = time.monotonic(), item.checkpoint.folder
    images, work = (folder / part / steps.name(number) for part in ("img", "work"))
    images.mkdir(mode=0o700)
    work.mkdir(mode=0o700)
    process = runc.start_pre_dump(known, item.container.id, folder, number)
    try:
        process.wait(timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise CannotSave(f"it took longer than {limit:.0f} s") from error
    finally:
        good = process.returncode == 0 and (work / "stats-dump").exists()
        if not good:
            _end(process, item.checkpoint, Cgroup(known.cgroup), paused=item.container.paused)
    if not good:
        why = script.why(work, f"runc has ended with {process.returncode}")
        raise CannotSave("CRIU was killed over it" if script.was_killed(work / "dump.log", why) else why)
    files = [str(path) for path in (*images.iterdir(), images)]
    run(["sync", *files], limit=max(1.0, limit - (time.monotonic() - begun)))


def _end(process: subprocess.Popen[bytes], checkpoint: Checkpoint, cgroup: Cgroup, *, paused: bool) -> None:
    """End what works at a step, and thaw: a CRIU that is killed while it stops the processes leaves them frozen."""
    found = {*runc.criu_of(checkpoint.folder), *runc.criu_below(process.pid)}
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in found:
        proc.wait_for_exit(pid, limit=_END_LIMIT)
    try:
        process.wait(timeout=_END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
    if not paused:
        cgroup.thaw()


def _drop(checkpoint: Checkpoint) -> None:
    """Away with all steps; their logs stay."""
    with contextlib.suppress(OSError):
        (checkpoint.folder / chain.AHEAD).unlink()
    images = checkpoint.folder / "img"
    for folder in chain.folders(images):
        if folder != images:
            erasure.put_aside(folder, checkpoint.folder.parent.parent)
