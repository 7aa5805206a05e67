"""`make bench-runtime`: the price of standing in the way of every container, against the bare runc.

Exit status 0 only if every line keeps its bar. All in one run on one host, interleaved, medians.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from guardian.model.retention import RECORDS
from tests.demo.own_time import measure
from tests.host.outside import client, unnoticed
from tests.host.site import Site
from tests.machines import ContainerHost

_REPOSITORY = Path(__file__).resolve().parents[2]
PAIRS = 250
GENERATIONS = 10
MEGABYTE = 1 << 20

_PAIRS = f"""\
import json, os, statistics, sys, time
arguments = ["--root", "/run/docker/runtime-runc/moby", "state", sys.argv[1]]
front, bare = "/usr/libexec/docker-guardian/path/runc", "/usr/sbin/runc"
null = os.open("/dev/null", os.O_RDWR)
actions = [(os.POSIX_SPAWN_DUP2, null, 1)]

def timed(program):
    begun = time.perf_counter()
    pid = os.posix_spawn(program, ["runc", *arguments], os.environ, file_actions=actions)
    assert os.waitpid(pid, 0)[1] == 0
    return time.perf_counter() - begun

times = {{front: [], bare: []}}
for number in range({PAIRS} + 10):
    for program in (front, bare) if number % 2 else (bare, front):
        seconds = timed(program)
        if number >= 10:
            times[program].append(seconds)
print(json.dumps([statistics.median(a - b for a, b in zip(times[front], times[bare])),
                  statistics.median(times[front]), statistics.median(times[bare])]))
"""
_COUNTS = r"""
pss() { for pid in "$@"; do cat /proc/$pid/smaps_rollup; done | awk '/^Pss:/ { sum += $2 } END { print sum * 1024 }'; }
echo worker_pss $(pss $(systemctl show -P MainPID guardian-worker))
echo fence_pss $(pss $(systemctl show -P MainPID guardian-fence))
echo holder_pss $(pss $(pgrep -x 'guardian-holder|guardian-guard'))
echo files $(find /run/guardian /var/lib/guardian /run/docker /run/containerd | wc -l)
echo mounts $(wc -l </proc/self/mountinfo)
echo cgroups $(find /sys/fs/cgroup -type d | wc -l)
echo rules $(nft list ruleset 2>/dev/null | wc -l)
echo conntrack $(conntrack -L -p tcp 2>/dev/null | grep -c dport=8080)
"""


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the table. `unit` stands behind both numbers."""

    what: str
    value: float
    bar: float
    unit: str
    note: str = ""

    @property
    def kept(self) -> bool:
        """Whether the bar is kept."""
        return self.value <= self.bar

    def __str__(self) -> str:
        verdict = "kept" if self.kept else "BROKEN"
        return f"{self.what:44} {self.value:8.3f} {self.unit:4} {self.bar:8.2f}   {verdict:7} {self.note}"


def _counts(site: Site) -> dict[str, int]:
    told = site.machine.succeed(_COUNTS, unit=True)
    return {name: int(float(number)) for name, number in (line.split() for line in told.splitlines())}


def passing_through(site: Site) -> Iterator[Line]:
    """A call that is not ours."""
    container = site.run("plain", "sleep infinity", guarded=False)
    site.machine.write("/root/pairs.py", _PAIRS)
    told = site.machine.succeed(f"python3 /root/pairs.py {container}", unit=True)
    difference, front, bare = json.loads(told)
    note = f"{front * 1000:.2f} ms against {bare * 1000:.2f}, {PAIRS} interleaved pairs, ratio {front / bare:.2f}"
    yield Line("passing through, a call", difference * 1000, 2.0, "ms", note)
    site.machine.succeed("docker rm -f plain")


def ticketed_start(site: Site) -> Iterator[Line]:
    """A `docker start` that restores."""
    own = measure(site)
    note = f"{own.resume:.3f} = {own.plain_start:.3f} plain + {own.bare_restore:.3f} bare restore + this"
    yield Line("a ticketed docker start, own time", own.own_resume, 0.10, "s", note)


def generations(site: Site) -> Iterator[Line]:
    """Nothing may grow."""
    site.redis("redis")
    site.program("srv", "server 80", "-p 8080:80")
    with client(site, 8080, count=3) as outside:
        for _ in range(RECORDS + 1):  # until nothing more is kept than before
            site.restart_docker()
        before = _counts(site)
        for _ in range(GENERATIONS):
            site.restart_docker()
        after = _counts(site)
        unnoticed(outside, count=3)
    yield Line("holder and its guard, PSS each", after["holder_pss"] / 4 / MEGABYTE, 1.0, "MiB")
    for name, number in after.items():
        memory = name.endswith("_pss")
        scale = MEGABYTE if memory else 1
        growth = (number - before[name]) / scale
        note = f"{before[name] / scale:.2f} -> {number / scale:.2f}"
        yield Line(
            f"{GENERATIONS} generations, growth of {name}",
            growth,
            0.5 if memory else 0,
            "MiB" if memory else "",
            note,
        )


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, ContainerHost() as host:
        subprocess.run(
            [_REPOSITORY / "packaging" / "build.sh", folder], check=True, stdout=subprocess.DEVNULL
        )
        site = Site(host)
        site.install(next(Path(folder).glob("*.deb")))
        print(f"{'':44} {'value':>8} {'':4} {'bar':>8}   verdict")
        lines = []
        for part in (passing_through, ticketed_start, generations):
            for line in part(site):
                print(line, flush=True)
                lines.append(line)
    return 0 if all(line.kept for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
