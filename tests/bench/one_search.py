"""One search of images, as a process that imports what a search needs and nothing of the benchmark's."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from guardian.host.images.folder import Folder
from guardian.host.images.search import Search


def task(folder: Path, what: str, pattern: str) -> None:
    """What is measured, and the peak of anonymous memory that the kernel counted meanwhile."""
    peak = 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.01):
            peak = max(peak, _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    for _ in Search(Folder(folder), pattern.encode(), fixed=what == "fixed", context=32).hits():
        pass
    seconds = time.perf_counter() - begun
    peak = max(peak, _anonymous())
    ended.set()
    watcher.join()
    print(seconds, peak / (1 << 20))


def _anonymous() -> int:
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in each)
    return int(line.split()[1]) << 10


if __name__ == "__main__":
    task(Path(sys.argv[1]), *sys.argv[2:])
