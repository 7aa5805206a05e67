"""A root in which guardian's own code looks at cut disks: a test host's /usr, guardian's source beside it."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.machines.commands import interrupts_later
from tests.power.facts import Look
from tests.power.served_host import ServedHost

_HERE = Path(__file__).parent
_SCRIPT = """\
set -eu
mount -t tmpfs none "$1"
cd "$1"
mkdir usr source served cut proc dev run tmp var var/lib var/lib/guardian
for name in bin sbin lib lib64; do ln -s usr/$name $name; done
for name in proc dev; do mount --rbind /$name $name; done
mount --bind "$2" usr
mkdir source/guardian && mount --bind "$3" source/guardian
mkdir source/tests source/tests/power
cp "$4/looker.py" "$4/partitions.py" source/tests/power
mount --bind "$5" served
exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin PYTHONPATH=/source PYTHONDONTWRITEBYTECODE=1 \\
    python3 -m tests.power.looker
"""


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
    arguments = (root, host.base_folder / "usr", source / "guardian", _HERE, host.served.parent)
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
