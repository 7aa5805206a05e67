"""A container host whose disk a program of ours serves: recorded, or cut."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.machines import ContainerHost, disk
from tests.machines.commands import interrupts_later, run, wait_until
from tests.power.cuts import Cut
from tests.power.disk_server import CONTROL, DISK

_REPOSITORY = Path(__file__).resolve().parents[2]


class ServedHost(ContainerHost):
    """Its disk as it was cloned stays in `host.img`; what it runs on is served."""

    def __init__(self, suite: str = "forky") -> None:
        self._served = False
        super().__init__(suite)
        with self._closed_on_error():
            self._target = self.folder / "served"
            self._target.mkdir()
            self.log = self.folder / "writes.log"

    @property
    def _mount(self) -> str:
        return disk.mount_command(self.base_folder, self.folder, self.served if self._served else None)

    @property
    def base_folder(self) -> Path:
        """What it was cloned from."""
        assert self._base is not None
        return self._base

    def own(self, pid: int) -> None:
        """Have a process end with this host, whatever happens."""
        self._record.add_process(pid)

    @property
    def served(self) -> Path:
        """The disk that is served."""
        return self._target / DISK

    @contextlib.contextmanager
    def serving(self, what: str, image: Path) -> Iterator[None]:
        """For as long as the block lasts, `record` the writes to an image or `replay` the log over it."""
        with interrupts_later():
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.power.disk_server", what, image, self.log, self._target],
                cwd=_REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            self.own(server.pid)
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        self._served = True
        try:
            yield
        finally:
            if self.is_up:
                self.kill()
            disk.wait_until_detached(self.folder)
            self._served = False
            run(["umount", str(self._target)], timeout=30)
            server.wait(60)
            server.stdout.close()

    def kill(self) -> None:
        """SIGKILL of its init; what it has not written is written still, or not, as the kernel likes."""
        assert self._process is not None
        assert self._leader is not None
        self._leader.kill()
        self._process.wait(30)

    def mark(self, text: str) -> None:
        """Write a mark into the log."""
        (self._target / CONTROL).write_text(text)

    def cut(self, cut: Cut) -> None:
        """Have the disk be what a power cut has left."""
        wait_until(lambda: not self.is_up, timeout=1, what=f"{self.name} off")
        disk.wait_until_detached(self.folder)
        (self._target / CONTROL).write_text(cut.to_text())

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """The root of the disk as it is now, for reading; mounting it replays its journal."""
        disk.wait_until_detached(self.folder)
        target = self.folder / "cut"
        target.mkdir(exist_ok=True)
        run(["mount", "-t", "ext4", "-o", "loop,ro", str(self.served), str(target)], timeout=60)
        try:
            yield target
        finally:
            run(["umount", str(target)], timeout=60)
