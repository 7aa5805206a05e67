"""The containers that faults strike, and what is known of them from outside."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.faults.host import FaultHost
from tests.host.outside import PATIENCE, Program, client
from tests.host.site import Site
from tests.machines.errors import MachineError
from tests.machines.looking import looking

POLICIES = {"db": "always", "app": "unless-stopped", "lone": "on-failure"}
"""The containers and their restart policies. `app` talks to `db`: one group; `lone` is another."""

PORTS = {"app": 8080, "lone": 8081}
"""Who has a client outside, at which port of the host."""

_SHORT = "/etc/systemd/system/docker.service.d/short.conf"
"""Debian's 90 seconds until a dockerd that is stopped by SIGSTOP is killed are too long for a table."""
_LOOK = "{{.Name}} {{.Id}} {{.State.Running}} {{.State.Pid}} {{.State.StartedAt}} {{.HostConfig.RestartPolicy.Name}}"


@dataclasses.dataclass(frozen=True)
class Seen:
    """One container at one moment."""

    id: str
    running: bool
    pid: int
    started_at: str
    policy: str
    token: str
    count: int
    resets: int
    wrong: int
    outcome: str
    reason: str


class Bench:
    """A host with the containers and their clients outside."""

    def __init__(self, host: FaultHost, package: Path) -> None:
        self.host = host
        self.site = Site(host)
        self.site.install(package)
        self._clients = contextlib.ExitStack()
        self.clients: dict[str, Program] = {}
        self._made_by: dict[str, str] = {}
        self.host.write(_SHORT, "[Service]\nTimeoutStopSec=10\n")
        self.host.succeed("systemctl daemon-reload; docker network create --subnet 10.77.0.0/24 shop")
        self._begin("db", "witness 9000", "--network shop --ip 10.77.0.10")
        app = "--network shop --ip 10.77.0.11 -p 8080:9000 --label guardian.depends-on=db"
        self._begin("app", "witness 9000 10.77.0.10 9000", app)
        self._begin("lone", "witness 9000", "-p 8081:9000")
        self.site.wait_for(lambda: self.witness("app").get("answers", 0) > 5)
        self.connect()

    def _begin(self, name: str, program: str, options: str) -> None:
        options = f"{options} -v {name}:/data --restart {POLICIES[name]}"
        self.site.program(name, program, options)
        self._made_by[name] = (
            f"docker run -d --stop-timeout 2 --name {name} --label guardian.enable=true"
            f" -v /root/witness.py:/witness.py:ro {options} work:1 python3 -u /{program.replace(' ', '.py ', 1)}"
        )
        self.site.wait_for(lambda: self.witness(name).get("count", 0) > 5)

    def command(self, name: str) -> str:
        """What makes a container as it was made first."""
        return self._made_by[name]

    def connect(self) -> None:
        """New clients outside, in place of those that are there."""
        self._clients.close()
        for name, port in PORTS.items():
            self.clients[name] = self._clients.enter_context(client(self.site, port))

    def close(self) -> None:
        """End the clients."""
        self._clients.close()

    def witness(self, name: str) -> dict[str, Any]:
        """What a container's process knows, by its volume; empty where it cannot be read."""
        path = f"/proc/{self.host.init}/root/var/lib/docker/volumes/{name}/_data/seen"
        try:
            found: dict[str, Any] = json.loads(Path(path).read_text())
        except (OSError, ValueError):
            return {}
        return found

    def said_good_bye(self, name: str) -> list[str]:
        """The tokens of the processes of a container that were told to stop."""
        path = f"/var/lib/docker/volumes/{name}/_data/bye"
        return self.host.execute(f"cat {path}")[1].split()

    def look(self, names: Sequence[str] = tuple(POLICIES)) -> dict[str, Seen]:
        """All containers, or those that are named, as they are now."""
        told = self.site.list()
        seen = {}
        for line in self.host.succeed(f"docker inspect -f '{_LOOK}' {' '.join(names)}").strip().splitlines():
            name, container_id, running, pid, started_at, policy = line.split()
            name = name.removeprefix("/")
            last = told[name]["last"] or {}
            known = self.witness(name)
            seen[name] = Seen(
                id=container_id,
                running=running == "true",
                pid=int(pid),
                started_at=started_at,
                policy=policy,
                token=str(known.get("token", "")),
                count=int(known.get("count", -1)),
                resets=int(known.get("resets", -1)),
                wrong=int(known.get("wrong", -1)),
                outcome=str(last.get("outcome", "")),
                reason=str(last.get("reason", "")),
            )
        return seen

    def unnoticed(self, name: str) -> str:
        """What the client outside has noticed; empty where it has not, and goes on."""
        begun = self.clients[name].seen()["requests"]
        end = time.monotonic() + PATIENCE
        while True:
            now = self.clients[name].seen()
            noticed = [key for key in ("resets", "ends", "wrong") if now[key]]
            if noticed or now["requests"] > begun + 3:
                return " ".join(noticed)
            if time.monotonic() > end:
                return "silence"
            time.sleep(0.05)


@contextlib.contextmanager
def opened(suite: str, package: Path) -> Iterator[Bench]:
    """Three containers with clients on a host of their own, whose store is a file system of its own."""
    with FaultHost(suite) as host:
        bench = Bench(host, package)
        try:
            yield bench
        finally:
            bench.close()


class Watch:
    """Looks at the volumes all the time: no memory may go back, and none may come back that another one followed."""

    def __init__(self, bench: Bench, *, crash: bool) -> None:
        """`crash`: what was not written may be lost."""
        self._bench = bench
        self._crash = crash
        self._last: dict[str, tuple[str, int]] = {}
        self._gone: dict[str, set[str]] = {name: set() for name in POLICIES}
        self.wrong: list[str] = []

    def _look(self) -> None:
        for name in POLICIES:
            try:
                seen = self._bench.witness(name)
            except MachineError:  # the host is off
                if self._crash:
                    self._last.clear()
                return
            if not seen:
                continue
            token, count = seen["token"], seen["count"]
            before = self._last.get(name)
            if token in self._gone[name]:
                self.wrong.append(f"{name}: an old memory came back")
            elif before is not None and before[0] != token:
                self._gone[name].add(before[0])
            elif before is not None and count < before[1]:
                self.wrong.append(f"{name}: went back from {before[1]} to {count}")
            self._last[name] = (token, count)

    @contextlib.contextmanager
    def running(self) -> Iterator[Watch]:
        """While the block lasts."""
        with looking(self._look, every=0.02):
            yield self
