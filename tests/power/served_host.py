"""A container host whose disk a program of ours serves: recorded, or cut."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.machines import ContainerHost, disk
from tests.machines.commands import interrupts_later, run
from tests.power.cuts import Cut
from tests.power.disk_server import CONTROL, DATA, DISK, DISK_SIZE

MOUNTED = Path("srv/data")
"""Where the second partition is mounted, while the disk is served."""

_DATA_SIZE = 64 << 20
_REPOSITORY = Path(__file__).resolve().parents[2]


def _add_partition(image: Path) -> None:
    """Make the image longer, with a file system behind the one that is there."""
    partition = image.with_name(DATA)
    run(["truncate", f"--size={_DATA_SIZE}", str(partition)], timeout=30)
    run(["mke2fs", "-q", "-t", "ext4", str(partition)], timeout=60)
    assert image.stat().st_size == DISK_SIZE
    run(
        ["dd", f"if={partition}", f"of={image}", "bs=1M", f"seek={DISK_SIZE >> 20}", "conv=sparse,notrunc"],
        timeout=120,
    )
    run(["truncate", f"--size={DISK_SIZE + _DATA_SIZE}", str(image)], timeout=30)
    partition.unlink()


class ServedHost(ContainerHost):
    """Its disk as it was cloned stays in `host.img`; what it runs on is served."""

    def __init__(self, suite: str = "forky") -> None:
        self._served = False
        super().__init__(suite)
        with self._closed_on_error():
            _add_partition(self.folder / disk.IMAGE)
            self._target = self.folder / "served"
            self._target.mkdir()
            self.log = self.folder / "writes.log"

    @property
    def _mount(self) -> str:
        if not self._served:
            return disk.mount_command(self.base_folder, self.folder)
        data = disk.mount_argv(self.served.with_name(DATA), self.root / MOUNTED)
        return f"{disk.mount_command(self.base_folder, self.folder, self.served)} && {shlex.join(data)}"

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
            # Not by unmounting: who made a mount namespace meanwhile has a copy of the mount in it.
            server.terminate()
            server.wait(60)
            run(["umount", str(self._target)], timeout=30)
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
        disk.wait_until_detached(self.folder)
        (self._target / CONTROL).write_text(cut.to_text())
