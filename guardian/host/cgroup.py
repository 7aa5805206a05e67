"""A container's cgroup (version 2): freeze, thaw, kill, who is in it."""

from __future__ import annotations

import errno
import os
import select
import time
from pathlib import Path

from guardian.model.errors import GuardianError


class FreezeFailed(GuardianError):
    """The cgroup did not reach the wanted state in time."""


class Cgroup:
    """One cgroup by its path below /sys/fs/cgroup."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether the folder is there."""
        return self.path.is_dir()

    def event(self, key: str) -> bool:
        """A value of cgroup.events; False where the cgroup is gone."""
        try:
            lines = (self.path / "cgroup.events").read_text().splitlines()
        except (FileNotFoundError, OSError):
            return False
        return f"{key} 1" in lines

    def frozen(self) -> bool:
        """Whether every task is frozen."""
        return self.event("frozen")

    def asked_to_freeze(self) -> bool:
        """Whether somebody has frozen it and nobody has thawed it since; False where it is gone."""
        try:
            return (self.path / "cgroup.freeze").read_text().strip() == "1"
        except OSError:
            return False

    def populated(self) -> bool:
        """Whether any process lives in it or below."""
        return self.event("populated")

    def freeze(self, *, limit: float) -> None:
        """Freeze every task within `limit` seconds; raises FreezeFailed, thawed again."""
        self._write("cgroup.freeze", "1")
        if not self.wait("frozen", True, limit=limit):
            self._write("cgroup.freeze", "0")
            raise FreezeFailed("the container could not be frozen", f"not within {limit:g} s")

    def thaw(self) -> None:
        """Let the tasks go on; nothing where the cgroup is gone."""
        if self.exists():
            try:
                self._write("cgroup.freeze", "0")
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise

    def kill(self, *, limit: float) -> bool:
        """SIGKILL every task, frozen or not, and wait until the cgroup is empty."""
        try:
            self._write("cgroup.kill", "1")
        except FileNotFoundError:
            return True
        return self.wait("populated", False, limit=limit)

    def wait(self, key: str, wanted: bool, *, limit: float) -> bool:
        """Wait for a value of cgroup.events at most `limit` seconds; returns whether it came."""
        end = time.monotonic() + limit
        try:
            descriptor = os.open(self.path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return not wanted
        try:
            poller = select.poll()
            poller.register(descriptor, select.POLLPRI)
            while True:
                try:
                    now = f"{key} 1" in os.pread(descriptor, 4096, 0).decode().splitlines()
                except OSError:  # ENODEV: the cgroup was removed
                    return not wanted
                if now == wanted:
                    return True
                left = end - time.monotonic()
                if left <= 0:
                    return False
                # At most a second: the removal of a cgroup wakes nobody.
                poller.poll(min(left, 1.0) * 1000)
        finally:
            os.close(descriptor)

    def pids(self) -> list[int]:
        """Every process in it and below."""
        found: list[int] = []
        for folder, _, _ in os.walk(self.path):
            try:
                found += [int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()]
            except (FileNotFoundError, OSError):
                continue
        return found

    def _write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)
