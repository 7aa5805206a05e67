"""Work in order on as many threads as there are CPUs, for calls into C that let other threads run meanwhile."""

from __future__ import annotations

import collections
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Self, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")
_AHEAD = 2
"""Tasks begun for each thread before their answers are asked for."""


class _Job(Generic[Task, Answer]):
    def __init__(self, task: Task) -> None:
        self.task = task
        self.done = threading.Event()
        self.answer: Answer | None = None
        self.error: Exception | None = None


class Crew(Generic[Task, Answer]):
    """Threads that do one thing. A context manager.

    They are daemons: one that hangs in C does not keep the process from ending. `patience` is seconds a task may take,
    `too_slow` makes the error that is raised then.
    """

    def __init__(
        self, work: Callable[[Task], Answer], *, patience: float, too_slow: Callable[[], Exception]
    ) -> None:
        self._work = work
        self._patience = patience
        self._too_slow = too_slow
        self._queue: queue.SimpleQueue[_Job[Task, Answer] | None] = queue.SimpleQueue()
        self._count = max(1, len(os.sched_getaffinity(0)))
        self._threads: list[threading.Thread] = []
        self.hangs = False
        """Whether a thread still works on what has taken too long."""

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self._count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        while not self._queue.empty():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        for _thread in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout=0 if self.hangs else self._patience)
            self.hangs = self.hangs or thread.is_alive()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                job.answer = self._work(job.task)
            except Exception as error:  # noqa: BLE001 raised again where the answer is asked for
                job.error = error
            job.done.set()

    def _begin(self, task: Task) -> _Job[Task, Answer]:
        job: _Job[Task, Answer] = _Job(task)
        self._queue.put(job)
        return job

    def _answer(self, job: _Job[Task, Answer]) -> Answer:
        if not job.done.wait(self._patience):
            self.hangs = True
            raise self._too_slow()
        if job.error is not None:
            raise job.error
        return job.answer  # type: ignore[return-value] # set where there was no error

    def one(self, task: Task) -> Answer:
        """The answer to one task."""
        return self._answer(self._begin(task))

    def all(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """Each task with its answer, in order; few are begun before they are asked for."""
        begun: collections.deque[_Job[Task, Answer]] = collections.deque()
        for task in tasks:
            begun.append(self._begin(task))
            if len(begun) >= self._count * _AHEAD:
                job = begun.popleft()
                yield job.task, self._answer(job)
        while begun:
            job = begun.popleft()
            yield job.task, self._answer(job)
