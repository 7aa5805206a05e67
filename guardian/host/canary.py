"""A canary: a small process that is dumped and restored by the real CRIU, to see whether this host can.

It is found out what a new kernel or another CRIU breaks before the memory of a container depends on it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from guardian.host import paths, proc, runc
from guardian.host.command import CommandFailed, run
from guardian.model.errors import GuardianError

LIMIT = 15.0
_FLAGS = ("--tcp-established", "--ext-unix-sk", "--file-locks", "--link-remap", "--skip-in-flight")
_PREFIX = ".canary"
_ROOM = 8 << 20
_ATTEMPTS = 2
"""Its process id or its port may be taken by somebody else while it is away."""
_KILL_LIMIT = 2.0


@dataclasses.dataclass(frozen=True)
class Trial:
    """What came of it. `failure`: why this host cannot dump or restore; `untried`: why that is not known."""

    seconds: float
    failure: str = ""
    untried: str = ""


class _Failed(GuardianError):
    """The canary did not come through."""


def attempt(store: Path, *, limit: float = LIMIT) -> Trial:
    """Dump and restore a canary, in `limit` seconds at most; nothing of it is left. Raises nothing."""
    begun = time.monotonic()
    failure = ""
    try:
        for _ in range(_ATTEMPTS):
            failure = _once(_place(store), begun + limit)
            if not failure or time.monotonic() >= begun + limit:
                break
    except (OSError, ValueError) as error:
        return Trial(time.monotonic() - begun, untried=str(error))
    return Trial(time.monotonic() - begun, failure)


def _place(store: Path) -> Path:
    """The store's file system; /run where it is full or not there: that is no reason to call a restore impossible."""
    with contextlib.suppress(OSError):
        disk = os.statvfs(store)
        if disk.f_bavail * disk.f_frsize >= _ROOM and not disk.f_flag & os.ST_RDONLY:
            return store
    return paths.RUN


def _once(place: Path, end: float) -> str:
    """Why it did not come through, empty where it did; raises OSError where it could not be tried."""
    _sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{os.getpid()}-", dir=place))
    try:
        _Canary(folder, end).run()
    except GuardianError as error:
        return str(error)
    finally:
        _end_all(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return ""


def _sweep(place: Path) -> None:
    """Away with what those have left who were killed."""
    for left in place.glob(f"{_PREFIX}-*-*"):
        owner = left.name.split("-")[1]
        if owner.isdigit() and not proc.alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _end_all(folder: Path) -> None:
    """Kill whatever has the folder in its command line: the canary, CRIU, and what CRIU has half restored."""
    named = os.fsencode(folder)
    left = [pid for pid, words in proc.command_lines() if any(named in word for word in words)]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in left:
        proc.wait_for_exit(pid, limit=_KILL_LIMIT)


class _Canary:
    def __init__(self, folder: Path, end: float) -> None:
        self._folder = folder
        self._said = folder / "said"
        self._end = end

    def run(self) -> None:
        """Dump, death, restore, proof; raises GuardianError."""
        process = subprocess.Popen(
            [paths.CANARY, self._said],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        try:
            number = self._heard(process)
            self._criu("dump", "--tree", str(process.pid))
            if self._waited(process) != -signal.SIGKILL:
                raise _Failed("criu dump", "it has not ended what it has dumped")
            self._criu("restore", "--restore-detached")
            self._prove(process.pid, number)
        finally:
            process.kill()
            self._waited(process)

    def _left(self) -> float:
        return max(0.1, self._end - time.monotonic())

    def _waited(self, process: subprocess.Popen[bytes]) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(self._left(), _KILL_LIMIT))
        return None

    def _heard(self, process: subprocess.Popen[bytes]) -> str:
        """The number that only its memory has; raises OSError where it does not get that far."""
        assert process.stdout is not None
        text = b""
        with process.stdout as output:
            while select.select([output], [], [], self._left())[0]:
                piece = os.read(output.fileno(), 4096)
                if not piece:
                    break
                text += piece
        words = text.decode(errors="replace").split()
        if len(words) != 2 or words[0] != "ready":
            raise OSError(f"{paths.CANARY} does not start")
        return words[1]

    def _criu(self, verb: str, *arguments: str) -> None:
        log = self._folder / f"{verb}.log"
        argv = [
            *(runc.criu(), verb, *arguments, *_FLAGS),
            *("--network-lock", "skip" if runc.network_lock_skip() else "nftables"),
            *("--images-dir", str(self._folder), "--work-dir", str(self._folder), "--log-file", log.name),
        ]
        try:
            done = run(argv, limit=self._left(), environment={"PATH": runc.USUAL_PATH}, check=False)
        except CommandFailed as error:
            raise _Failed(f"criu {verb}", runc.first_error(log) or str(error)) from error
        if done.status != 0:
            said = (done.errors or done.output).strip().splitlines()
            why = runc.first_error(log) or (said[-1][-300:] if said else f"status {done.status}")
            raise _Failed(f"criu {verb}", why)

    def _prove(self, pid: int, number: str) -> None:
        """Have it look at what it had, from the memory that it had."""
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError as error:
            raise _Failed("criu restore", "it says that it is done, and there is no process") from error
        ended = proc.wait_for_exit(pid, limit=self._left())
        told = self._said.read_text(errors="replace").strip()
        if not ended or not told:
            raise _Failed("criu restore", "what it has restored does not run")
        if told != f"{number} good":
            raise _Failed("criu restore", f"lost: {told.partition(' ')[2][:100]}")
