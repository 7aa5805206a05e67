"""`make demo`: three containers go on through a reboot, a restart of dockerd and its death; a client outside, too.

Exit status 0 only if the ledger says `resumed` for each, every value went on, and the client noticed nothing.
KEEP=1 leaves the host running, HOST=trixie takes Debian 13 with Docker 26.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.demo.own_time import LIMIT, measure
from tests.host.outside import PROGRAMS, Program, client
from tests.host.site import Site
from tests.machines import ContainerHost
from tests.machines.recipes import known_suites

_REPOSITORY = Path(__file__).resolve().parents[2]
_GUARDED = ("redis", "app", "front")
_APP = '''\
"""Counts in a redis over one connection, and by itself."""
import socket, time
connection = socket.create_connection(("redis", 6379))
lines = connection.makefile("rwb")
own = 0
while True:
    own += 1
    lines.write(b"INCR counted\\r\\n"); lines.flush()
    counted = int(lines.readline()[1:])
    with open("/seen", "w") as file:
        print(own, counted, file=file)
    time.sleep(0.05)
'''
_FRONT = '''\
"""Asks the redis again and again, remembers since when, and serves clients from outside."""
import runpy, socket, sys, threading, time
sys.argv = ["server", "80"]
threading.Thread(target=runpy.run_path, args=("/server.py",), daemon=True).start()
since = time.time_ns()
connection = socket.create_connection(("redis", 6379))
lines = connection.makefile("rwb")
while True:
    lines.write(b"GET counted\\r\\n"); lines.flush()
    length = int(lines.readline()[1:])
    counted = int(lines.read(length + 2)) if length > 0 else 0
    with open("/seen", "w") as file:
        print(since, counted, file=file)
    time.sleep(0.05)
'''


@dataclasses.dataclass(frozen=True)
class Values:
    """What is only in memory."""

    run_id: str
    secret: str
    own: int
    counted: int
    front_since: str

    def problems(self, later: Values) -> list[str]:
        """What did not go on."""
        found = [
            f"{name} is another"
            for name in ("run_id", "secret", "front_since")
            if getattr(self, name) != getattr(later, name)
        ]
        found += [
            f"{name} went back" for name in ("own", "counted") if getattr(later, name) < getattr(self, name)
        ]
        return found


def _prepare(site: Site) -> None:
    machine = site.machine
    machine.write("/root/app.py", _APP)
    machine.write("/root/front.py", _FRONT)
    machine.succeed("docker network create shop")
    site.redis("redis", "--network shop --restart always", "-e X=1")
    machine.succeed("docker exec redis redis-cli config set protected-mode no")
    machine.succeed(f"docker exec redis redis-cli set secret {os.urandom(8).hex()}")
    depends = "--label guardian.depends-on=redis"
    site.run("app", "python3 -u /app.py", "--network shop -v /root/app.py:/app.py:ro", depends)
    depends = "--label guardian.depends-on=redis:started,app"
    machine.copy_to(PROGRAMS / "server.py", "/root/server.py")
    mounts = "-v /root/front.py:/front.py:ro -v /root/server.py:/server.py:ro"
    site.run("front", "python3 -u /front.py", f"--network shop -p 8080:80 {mounts}", depends)
    site.run("control", "redis-server --save ''", "--restart always", guarded=False)
    for name in ("app", "front"):
        machine.wait_until_succeeds(f"docker exec {name} grep -q ' [1-9]' /seen")


def _values(site: Site) -> Values:
    ask = "docker exec redis redis-cli"
    run_id = site.seen_in("redis").run_id.removeprefix("run_id:")
    own, counted = site.machine.succeed("docker exec app cat /seen").split()
    since, _ = site.machine.succeed("docker exec front cat /seen").split()
    return Values(
        run_id=run_id,
        secret=site.machine.succeed(f"{ask} get secret").strip(),
        own=int(own),
        counted=int(counted),
        front_since=since,
    )


def _wait_going_on(site: Site, before: Values) -> None:
    """The application counts again, over the connection it had."""
    site.wait_for(lambda: _values(site).counted > before.counted + 3, timeout=60)


def _round(site: Site, title: str, way: Callable[[Site], None]) -> bool:
    before = _values(site)
    control = site.seen_in("control").run_id
    begun = time.monotonic()
    way(site)
    took = time.monotonic() - begun
    listed = site.list()
    good = True
    try:
        _wait_going_on(site, before)
    except AssertionError:
        good = False
    later = _values(site)
    problems = before.problems(later) or ([] if good else ["the application does not count any more"])
    shown = {
        "redis": f"run_id {later.run_id[:8]}  secret {later.secret}",
        "app": f"own count {before.own} -> {later.own}  in redis {before.counted} -> {later.counted}",
        "front": f"running since {later.front_since}",
    }
    print(f"\n{title} ({took:.1f} s)")
    for name in _GUARDED:
        last = listed[name]["last"] or {"outcome": "none", "seconds": 0.0, "reason": ""}
        print(
            f"  {name:8} {last['outcome']:8} {last['seconds']:5.1f} s  {shown[name]}  {last['reason']}".rstrip()
        )
        good = good and last["outcome"] == "resumed"
    fresh = site.seen_in("control").run_id != control
    print(
        f"  {'control':8} {'not guarded, began from zero' if fresh else 'not guarded, and yet the same process'}"
    )
    for problem in problems:
        print(f"  WRONG: {problem}")
    return good and fresh and not problems


def _client_noticed_nothing(outside: Program) -> bool:
    """The client outside went on talking, on its one connection."""
    try:
        seen = outside.wait_for_more("requests")
    except AssertionError:
        print("  WRONG: the client is not answered any more")
        return False
    print(
        f"\nclient: connects={seen['connects']} resets={seen['resets']} longest_pause={seen['longest_pause']:.1f}s"
        f" requests={seen['requests']}"
    )
    return bool(seen["connects"] == 1 and not seen["resets"] + seen["ends"] + seen["wrong"])


def _say(text: str) -> None:
    print(f"--- {text}", flush=True)


def main() -> int:
    """Show it; returns 0 if every promise was kept."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        _say("building the package")
        subprocess.run(
            [_REPOSITORY / "packaging" / "build.sh", folder], check=True, stdout=subprocess.DEVNULL
        )
        _say("booting a host (its root is built when it is not there yet: some minutes)")
        with ContainerHost(os.environ.get("HOST") or known_suites()[0]) as host:
            site = Site(host)
            site.install(next(Path(folder).glob("*.deb")))
            print(
                host.succeed("docker --version; runc --version | head -1; criu --version | head -1").strip()
            )
            _say(
                "starting redis, an application that holds a connection to it, a third that needs both, a control"
            )
            _prepare(site)
            with client(site, 8080) as outside:
                good = _round(site, "after a reboot of the host", Site.reboot)
                good = _round(site, "after systemctl restart docker", Site.restart_docker) and good
                good = _round(site, "after SIGKILL of dockerd", Site.kill_docker) and good
                good = _client_noticed_nothing(outside) and good
            host.succeed("docker rm -f redis app front control")
            _say("measuring")
            own = measure(site)
            print(own.table())
            good = good and own.own_save <= LIMIT and own.own_resume <= LIMIT
            print(
                f"\n{'every promise was kept' if good else 'A PROMISE WAS BROKEN'} ({time.monotonic() - begun:.0f} s)"
            )
            if os.environ.get("KEEP") == "1":
                print(
                    f"the host runs on until it is shut down; enter it with\n  {host.shell_hint()}\nCtrl-C ends it"
                )
                sys.stdout.flush()
                with contextlib.suppress(KeyboardInterrupt):
                    host.wait_until_off()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
