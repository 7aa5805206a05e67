"""Whether two copies of one container ever ran at once, seen from outside during a whole move."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

from tests.host.lab import Lab
from tests.host.site import Site
from tests.machines.errors import MachineError
from tests.machines.looking import looking
from tests.machines.nspawn import ContainerHost

PROGRAM = """\
import os, secrets, time
token, n = secrets.token_hex(4), 0
while True:
    n += 1
    where = open("/where").read()
    try:
        with open("/data/new", "w") as file:
            file.write(f"{time.time_ns()} {token} {n} {where}")
        os.rename("/data/new", "/data/n")
    except OSError:
        pass  # a full disk is for guardian to stand
    time.sleep(0.01)
"""
"""What tells its memory from any other, how long it has run, and when and where: both hosts have one clock."""
OPTIONS = "-v data:/data -v /root/counter.py:/counter.py:ro -v /root/where:/where:ro"


def prepare(lab: Lab) -> None:
    """What the program is and asks on either host."""
    for host, site in (("one", lab.one), ("two", lab.two)):
        site.machine.write("/root/counter.py", PROGRAM)
        site.machine.write("/root/where", host)


@dataclasses.dataclass(frozen=True, order=True)
class Seen:
    """What a copy has written: `at` in nanoseconds, `token` of its memory, its count, the host it ran on."""

    at: int
    token: str
    count: int
    host: str


def seen_on(site: Site) -> Seen | None:
    """What lies in a host's volume `data` now; None where nothing does, or the host is down."""
    machine = site.machine
    assert isinstance(machine, ContainerHost)
    try:
        text = Path(f"/proc/{machine.init}/root/var/lib/docker/volumes/data/_data/n").read_text()
        at, token, count, host = text.split()
        return Seen(int(at), token, int(count), host)
    except (OSError, ValueError, MachineError):
        return None


def wrong(seen: set[Seen], *, may_go_back: bool) -> str:
    """What must not be among all that was seen; empty where it is as promised.

    Two copies at once would write in turn; a memory that goes on counts on. `may_go_back`: the power went.
    """
    told = sorted(seen)
    changes = [now.host for before, now in itertools.pairwise(told) if before.host != now.host]
    if changes not in ([], ["two"]):
        return f"ran on one and two in turn: {changes}"
    for before, now in itertools.pairwise(told):
        if before.token == now.token and now.count <= before.count and not may_go_back:
            return f"went back from {before.count} to {now.count}"
    tokens = [one.token for one in told]
    if any(token in tokens[:place] and tokens[place - 1] != token for place, token in enumerate(tokens)):
        return "an old memory came back"
    return ""


class Copies:
    """Looks at both hosts' volumes all the time."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.seen: set[Seen] = set()

    def look(self) -> None:
        """Once."""
        for site in (self._lab.one, self._lab.two):
            found = seen_on(site)
            if found is not None:
                self.seen.add(found)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Copies]:
        """While the block lasts."""
        with looking(self.look, every=0.005):
            yield self
