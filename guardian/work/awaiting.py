"""Awaiting: restored containers whose scripts wait, between `proven` and `spent`, for the word of their source."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, Self

from guardian.host import paths
from guardian.host.checkpoint import Checkpoint
from guardian.host.frames import Input, LinkLost
from guardian.model.errors import GuardianError
from guardian.model.outcome import Result
from guardian.model.states import State
from guardian.work import rebuild

log = logging.getLogger("guardian.move")

_PROVEN = b"proven\n"


class Restoring(Protocol):
    """Starts that the worker was asked for, and that wait for their images."""

    def complete(self) -> None:
        """The images are there; raises GuardianError where the worker is gone."""

    def give_up(self) -> None:
        """They will never be: end the starts. Means nothing once they are complete."""

    def results(self) -> list[Result]:
        """Wait for what became of each container; raises GuardianError."""

    def close(self) -> None:
        """Nobody listens any more."""


class Awaiting:
    """The restores of one move's members, in the order in which they are to run. A context manager."""

    SCRIPT_LIMIT: ClassVar[int] = 60
    """Seconds that a script waits once it has proven: the source has only to commit. Then the image waits instead."""

    def __init__(self, link: Input) -> None:
        self._checkpoints: Sequence[Checkpoint] = ()
        self._link = link
        self._scripts: dict[str, socket.socket] = {}
        self._results: list[Result] = []
        self._problem = ""
        self._restoring: Restoring | None = None
        self._begun = threading.Event()
        self._threads: list[threading.Thread] = []
        self._stack = contextlib.ExitStack()
        self._ended, self._ends = os.pipe2(os.O_CLOEXEC)
        self._listening: dict[str, socket.socket] = {}

    @staticmethod
    def socket_of(checkpoint: Checkpoint) -> Path:
        """Where a checkpoint's script asks."""
        return paths.DUMPS / f"{checkpoint.id}.sock"

    @contextlib.contextmanager
    def _listen(self, checkpoint: Checkpoint) -> Iterator[socket.socket]:
        path = self.socket_of(checkpoint)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            listening.listen(1)
            try:
                yield listening
            finally:
                path.unlink(missing_ok=True)

    @property
    def begun(self) -> bool:
        """Whether `begin` was called."""
        return bool(self._threads)

    def begin(
        self, settle: Callable[[], Sequence[Checkpoint]], arrive: Callable[[Sequence[str]], Restoring]
    ) -> None:
        """In a thread: make the checkpoints, all but their images, and have the containers started."""

        def restoring() -> None:
            try:
                self._checkpoints = settle()
                for item in self._checkpoints:
                    self._listening[item.id] = self._stack.enter_context(self._listen(item))
                with contextlib.closing(arrive([item.container_id for item in self._checkpoints])) as asked:
                    self._restoring = asked
                    self._begun.set()
                    self._results = asked.results()
            except (GuardianError, OSError, LookupError, TypeError, ValueError) as error:
                self._problem = str(error)
            finally:
                self._begun.set()
                os.write(self._ends, b".")

        self._run(restoring)

    def complete(self, take_images: Callable[[], None], folders: Iterable[Path]) -> str:
        """All that the other host sends is there: restore it, and beside that write it out. Returns what is wrong."""
        self._begun.wait()
        if self._restoring is None:
            return self._problem
        take_images()
        self._restoring.complete()

        def syncing() -> None:
            try:
                rebuild.sync_folders(folders)
                for checkpoint in self._checkpoints:
                    rebuild.sync(checkpoint)
            except (GuardianError, OSError) as error:
                self._problem = str(error)

        self._run(syncing)
        return ""

    def _run(self, task: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=task))
        self._threads[-1].start()

    def until_proven(self, limit: float) -> str:
        """Wait until all members could run and are on disk; returns why not, where they cannot."""
        end = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self._ended, selectors.EVENT_READ)
            selector.register(self._link.descriptor, selectors.EVENT_READ)
            for key, listening in self._listening.items():
                selector.register(listening, selectors.EVENT_READ, key)
            while len(self._scripts) < len(self._checkpoints):
                found = selector.select(max(0.0, end - time.monotonic()))
                if not found:
                    return f"not within {limit:.0f} s"
                for ready, _ in found:
                    if ready.fd == self._ended:
                        return self._why()
                    if ready.fd == self._link.descriptor:
                        return "the source has given it up"  # it has nothing else to say now, if it is still there
                    self._accept(ready.data)
        self._threads[1].join()
        return self._problem

    def _accept(self, key: str) -> None:
        asking, _ = self._listening[key].accept()
        asking.settimeout(5.0)
        with contextlib.suppress(OSError):
            if asking.recv(16) == _PROVEN:
                self._scripts[key] = asking
                return
        asking.close()

    def _why(self) -> str:
        reasons = [f"{result.name}: {result.reason}" for result in self._results]
        return self._problem or "; ".join(reasons) or "the restore ended"

    def word(self, limit: float) -> bool:
        """The source's word: whether it has given them up. Raises LinkLost where none comes."""
        said = self._link.message(limit=limit)
        if said.get("moved"):
            return True
        if said.get("void"):
            return False
        raise LinkLost("the other host says neither moved nor void")

    def go(self, take_over: Callable[[Checkpoint], None]) -> list[Result]:
        """They are this host's: first all marks, then their addresses, then the words. Returns what became of each."""
        for checkpoint in self._checkpoints:
            checkpoint.mark(State.ARRIVED)
        for checkpoint in self._checkpoints:
            take_over(checkpoint)
        for checkpoint in self._checkpoints:
            with contextlib.suppress(OSError, KeyError):
                self._scripts[checkpoint.id].sendall(b"go\n")
        self._threads[0].join()
        return self._results

    def let_go(self) -> None:
        """No word: the scripts fail, CRIU kills what it made, the images stay as they are."""
        if self.begun:
            self._begun.wait()
        if self._restoring is not None:
            self._restoring.give_up()
        for asking in self._scripts.values():
            asking.close()
        for listening in self._listening.values():
            listening.close()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.let_go()
        self._stack.close()
        os.close(self._ended)
        os.close(self._ends)
