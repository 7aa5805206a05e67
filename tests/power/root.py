"""A root in which guardian's own code looks at cut disks: a test host's /usr, guardian's source beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.machines.commands import interrupts_later
from tests.power.served_host import ServedHost

_LOOKER = Path(__file__).with_name("looker.py")
_SCRIPT = """\
set -eu
mount -t tmpfs none "$1"
cd "$1"
mkdir usr source served cut proc dev run tmp var var/lib var/lib/guardian
for name in bin sbin lib lib64; do ln -s usr/$name $name; done
for name in proc dev; do mount --rbind /$name $name; done
mount --bind "$2" usr
mkdir source/guardian && mount --bind "$3" source/guardian
cp "$4" source/looker.py
mount --bind "$5" served
exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin PYTHONPATH=/source PYTHONDONTWRITEBYTECODE=1 \\
    python3 /source/looker.py
"""


@dataclasses.dataclass(frozen=True)
class Look:
    """What looker.py says of a cut disk: `held` by the hold script; `pending`, the ledger's checkpoint that may be
    restored; whether guardian would (`waits`); the newest checkpoint and its state; the digests of the pending image;
    process and step of each file of the volume.
    """

    held: bool
    pending: str
    waits: bool
    newest: str
    state: str
    image: Mapping[str, str]
    steps: Mapping[str, tuple[str, int]]


class Looking:
    """The program in its root."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def look(self) -> Look:
        """Look at the disk as it is now. Raises RuntimeError with what the program said before it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("look\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the disk could not be looked at (status {self._process.wait(10)})")
        told = json.loads(line)
        told["steps"] = dict(zip(("unsynced", "synced"), map(tuple, told["steps"]), strict=True))
        return Look(**told)


@contextlib.contextmanager
def looking(host: ServedHost, source: Path) -> Iterator[Looking]:
    """A root for the disk that a host serves, with the guardian in the folder `source`."""
    root = host.folder / "looking"
    root.mkdir(exist_ok=True)
    arguments = (root, host.base_folder / "usr", source / "guardian", _LOOKER, host.served.parent)
    with interrupts_later():
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        host.own(process.pid)
    try:
        yield Looking(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(60)
        process.stdout.close()
