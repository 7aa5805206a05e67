"""Is there room for an image? Looked at before anything is frozen."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from guardian.host import runc
from guardian.host.cgroup import Cgroup
from guardian.host.ledger import Ledger
from guardian.model.config import Config
from guardian.model.errors import StoreError


def memory_of(container_id: str) -> int:
    """Bytes an image of the container will take: what its processes have of their own, and shared memory."""
    known = runc.state(container_id)
    if known is None:
        return 0
    total = 0
    for pid in Cgroup(known.cgroup).pids():
        try:
            total += memory_of_process(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def memory_of_process(pid: int) -> int:
    """Bytes that one process adds to an image; raises FileNotFoundError or ProcessLookupError once it is gone."""
    folder = Path(f"/proc/{pid}")
    status = (folder / "status").read_bytes().decode(errors="replace")
    # Walks the page tables: only for those that have any.
    shares = _kibibytes(status, "RssShmem:")
    return memory_in(status, (folder / "smaps_rollup").read_text() if shares else "")


def memory_in(status: str, rollup: str = "") -> int:
    """What /proc/PID/status, and smaps_rollup for shared memory, say that an image of the process will take at most.

    Raises ValueError and IndexError for what the kernel does not write.
    CRIU writes shared memory once: a hundred postgres processes have their share of it, not each the whole.
    """
    shared = _kibibytes(rollup, "Pss_Shmem:") if rollup else _kibibytes(status, "RssShmem:")
    return (_kibibytes(status, "RssAnon:", "VmSwap:") + shared) * 1024


def _kibibytes(text: str, *keys: str) -> int:
    return sum(int(line.split()[1]) for line in text.split("\n") if line.startswith(keys))


class Room:
    """The room that one job's images take together."""

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._lock = threading.Lock()
        self._promised = 0

    def check(self) -> None:
        """Raises StoreError where there is no room for anything."""
        with self._lock:
            self._check(0)

    def take(self, container_id: str) -> int:
        """Promise a container its room and return how much that is.

        Raises StoreError where disk or a ceiling of the configuration is too small.
        """
        with self._lock:
            expected = memory_of(container_id)
            self._check(expected)
            self._promised += expected
            return expected

    def take_more(self, size: int) -> bool:
        """Promise room that is not needed for a save; returns whether there was as much."""
        with self._lock:
            try:
                self._check(size)
            except StoreError:
                return False
            self._promised += size
            return True

    def _check(self, expected: int) -> None:
        config, store = self._config, self._ledger.store
        try:
            store.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk = os.statvfs(store)
            free = disk.f_bavail * disk.f_frsize
            taken = self._ledger.size() if config.max_size else 0
        except OSError as error:
            raise StoreError("the store cannot be used", str(error), hint=f"look at {store}") from error
        hint = "remove old checkpoints, or raise the limit in guardian.toml"
        wanted = self._promised + expected
        if wanted + config.reserve > free:
            raise StoreError("no space in the store", f"{_mib(wanted)} wanted, {_mib(free)} free", hint=hint)
        if config.max_container_size and expected > config.max_container_size:
            raise StoreError("larger than store.max-container-size", _mib(expected), hint=hint)
        if config.max_size and taken + wanted > config.max_size:
            raise StoreError(
                "store.max-size is reached", f"{_mib(taken)} taken, {_mib(wanted)} wanted", hint=hint
            )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
