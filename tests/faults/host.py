"""A container host whose store is a file system of its own: it can be filled, fail, and be looked at on its own."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from tests.machines import disk
from tests.machines.commands import run
from tests.machines.nspawn import ContainerHost

STORE = "var/lib/guardian/checkpoints"
_IMAGE = "store.img"
_SIZE = "4G"
"""More than guardian keeps free; without its holes it is some MiB."""


class FaultHost(ContainerHost):
    """As any container host, with the store on an ext4 that lies beside the host's disk."""

    @property
    def _mount(self) -> str:
        image, target = self.folder / _IMAGE, self.root / STORE
        if not image.exists():
            run(["truncate", f"--size={_SIZE}", str(image)], timeout=10)
            run(["mke2fs", "-q", "-t", "ext4", str(image)], timeout=60)
        mount = shlex.join(disk.mount_argv(image, target))
        return f"{super()._mount} && mkdir -p -m 700 {shlex.quote(str(target))} && {mount}"

    @property
    def store(self) -> Path:
        """The store, seen from outside."""
        return Path(f"/proc/{self.init}/root", STORE)

    def crash(self) -> None:
        """A power cut, for both disks."""
        disk.cut_power(self.store)
        super().crash()


def processes(machine: ContainerHost, name: str) -> list[int]:
    """The processes of a host (by their ids out here) with this name."""
    own = os.stat(f"/proc/{machine.init}/ns/pid").st_ino
    found = []
    for entry in os.listdir("/proc"):
        try:
            named = Path(f"/proc/{int(entry)}/comm").read_text().strip() == name
            if named and os.stat(f"/proc/{entry}/ns/pid").st_ino == own:
                found.append(int(entry))
        except (OSError, ValueError):
            continue
    return found
