"""Runs in a root made of a test host's /usr, with guardian's source beside: mounts a cut disk and says what it sees.

A line on standard input gives a line of JSON. What the next boot would do is decided by guardian:
its ledger, `guardian.work.pending` and the script that holds before dockerd starts. Mounting replays the journal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guardian.host.checkpoint import Checkpoint
from guardian.host.ledger import Ledger
from guardian.model.config import defaults
from guardian.model.errors import GuardianError
from guardian.work import pending, staleness
from guardian.work.host import Host
from tests.power.partitions import ALL, DATA, STORE

CUT = Path("/cut")
STATE = Path("/var/lib/guardian")
HOLDS = Path("/run/guardian/holds")
HOLD_SCRIPT = Path(pending.__file__).parents[1] / "runtime" / "hold.sh"
CONTAINERS = CUT / "var/lib/docker/containers"
DISKS = Path("/served")
VOLUME = CUT / DATA.mounted


def command(*argv: str) -> None:
    """Run it; raises with what it said."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr or done.stdout}")


def held() -> list[str]:
    """The containers that the script holds, before dockerd starts at the next boot."""
    command("mount", "--rbind", str(CUT / "var/lib/guardian"), str(STATE))
    try:
        command("sh", str(HOLD_SCRIPT))
        found = os.listdir(HOLDS)
        for name in found:
            (HOLDS / name).unlink()
        return found
    finally:
        command("umount", "--recursive", str(STATE))


def started_at(container_id: str) -> str:
    """What dockerd will say of it: its own file."""
    data = json.loads((CONTAINERS / container_id / "config.v2.json").read_text())
    return str(data["State"]["StartedAt"])


@contextlib.contextmanager
def in_place() -> Iterator[None]:
    """The cut's folders where guardian looks for the files of a container."""
    for folder in ("srv", "var/lib/docker"):
        Path("/", folder).mkdir(exist_ok=True)
        command("mount", "--rbind", str(CUT / folder), f"/{folder}")
    try:
        yield
    finally:
        for folder in ("srv", "var/lib/docker"):
            command("umount", "--recursive", f"/{folder}")


def stale(host: Host, checkpoint: Checkpoint) -> str:
    """Why guardian would not restore it all the same: what it has open has changed."""
    with in_place():
        return staleness.changed(checkpoint, checkpoint.record().container, host.config)


def waits(host: Host, newest: Checkpoint, container_id: str) -> bool:
    """Whether guardian would restore it."""
    try:
        container = newest.record().container
    except GuardianError:
        return False
    now = dataclasses.replace(container, started_at=started_at(container_id), running=False)
    return pending.waits(host, now)


def image(folder: Path) -> dict[str, str]:
    """The digest of each file of an image."""
    return {
        entry.name: hashlib.sha256(Path(entry.path).read_bytes()).hexdigest() for entry in os.scandir(folder)
    }


def steps() -> list[list[Any]]:
    """What the two files of the volume say, unsynced and synced: process and step."""
    found = []
    for name in ("unsynced", "synced"):
        process, _, step = (VOLUME / name).read_text().strip().partition(" ")
        found.append([process, int(step)])
    return found


def seen() -> dict[str, Any]:
    """What the mounted disk says of its one container."""
    (container_id,) = os.listdir(CONTAINERS)
    host = Host(defaults(), Ledger(CUT / STORE.mounted))
    known = host.ledger.of(container_id)
    ready = host.ledger.pending(container_id)
    return {
        "held": held() == [container_id],
        "pending": ready.id if ready else "",
        "waits": bool(known) and waits(host, known[-1], container_id),
        "stale": stale(host, ready) if ready else "",
        "newest": known[-1].id if known else "",
        "state": known[-1].state().value if known else "",
        "image": image(ready.folder / "img") if ready else {},
        "steps": steps(),
    }


def main() -> None:
    """Until standard input ends."""
    for _ in sys.stdin:
        try:
            for part in ALL:
                disk, place = DISKS / part.name, CUT / part.mounted
                command("mount", "-t", "ext4", "-o", "loop,noatime", str(disk), str(place))
            told = seen()
        finally:
            command("umount", "--recursive", str(CUT))
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
