"""A thread that looks at something all the time, while a test goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def looking(look: Callable[[], None], *, every: float) -> Iterator[None]:
    """Call `look` every so many seconds while the block lasts."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(every):
            look()

    thread = threading.Thread(target=run, name="looking")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
