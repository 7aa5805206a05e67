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
from tests.power.disk_server import CONTROL
from tests.power.partitions import ALL, HOST

_REPOSITORY = Path(__file__).resolve().parents[2]


def _add_partitions(image: Path) -> None:
    """Make the image longer, with file systems behind the one that is there."""
    assert image.stat().st_size == HOST.size
    for part in ALL[1:]:
        made = image.with_name(part.name)
        run(["truncate", f"--size={part.size}", str(made)], timeout=30)
        run(["mke2fs", "-q", "-t", "ext4", str(made)], timeout=60)
        # As the package makes the folder of the store.
        run(["debugfs", "-w", "-R", "set_inode_field <2> mode 040700", str(made)], timeout=30)
        place = [f"of={image}", f"seek={part.begin >> 20}", "bs=1M", "conv=sparse,notrunc"]
        run(["dd", f"if={made}", *place], timeout=120)
        made.unlink()
    run(["truncate", f"--size={ALL[-1].end}", str(image)], timeout=30)


class ServedHost(ContainerHost):
    """Its disk as it was cloned stays in `host.img`; what it runs on is served."""

    def __init__(self, suite: str = "forky") -> None:
        self._served = False
        super().__init__(suite)
        with self._closed_on_error():
            _add_partitions(self.folder / disk.IMAGE)
            self._target = self.folder / "served"
            self._target.mkdir()
            self.log = self.folder / "writes.log"

    @property
    def _mount(self) -> str:
        if not self._served:
            return disk.mount_command(self.base_folder, self.folder)
        more = (disk.mount_argv(self._target / part.name, self.root / part.mounted) for part in ALL[1:])
        first = disk.mount_command(self.base_folder, self.folder, self.served)
        return " && ".join([first, *map(shlex.join, more)])

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
        return self._target / HOST.name

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
