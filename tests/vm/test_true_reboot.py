"""One true reboot: Debian's own kernel, limits, threads, a process that is not root."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.site import REDIS, Redis, Site
from tests.machines import VirtualMachine

PIDS = 24
_THREADS = f"""\
import threading, time, os
done = [0] * {PIDS - 1}
def count(n):
    while True:
        done[n] += 1
        time.sleep(0.2)
for n in range({PIDS - 1}):
    threading.Thread(target=count, args=(n,)).start()
while True:
    open("/tmp/new", "w").write(f"{{min(done)}} {{threading.active_count()}}"); os.rename("/tmp/new", "/tmp/seen")
    time.sleep(0.2)
"""


@dataclasses.dataclass(frozen=True)
class Before:
    """What was there before the reboot."""

    redis: Redis
    limited: Redis
    threads: int
    boot: str


@pytest.fixture(scope="module")
def rebooted(package: Path) -> Iterator[tuple[Site, Before]]:
    """The machine after its reboot, and what was there before."""
    with VirtualMachine() as machine:
        site = Site(machine)
        site.install(package)
        redis = site.redis("redis", "--restart always")
        limited = site.redis("limited", "--user 1000:1000 --memory 64m --memory-swap 64m -w /tmp")
        machine.write("/root/threads.py", _THREADS)
        site.run("threads", "python3 /threads.py", f"--pids-limit {PIDS} -v /root/threads.py:/threads.py:ro")
        seen = _threads(site)
        before = Before(redis, limited, seen[0], machine.boot_id())
        site.reboot()
        yield site, before
        print(site.told())


def _threads(site: Site) -> tuple[int, int]:
    """How far the slowest thread has counted, and how many there are. The container's limit leaves no room for exec."""
    merged = site.inspect("threads", "{{.GraphDriver.Data.MergedDir}}")
    site.machine.wait_until_succeeds(f"grep -q ' {PIDS}' {merged}/tmp/seen")
    counted, threads = site.machine.succeed(f"cat {merged}/tmp/seen").split()
    return int(counted), int(threads)


def test_the_machine_was_booted_again(rebooted: tuple[Site, Before]) -> None:
    site, before = rebooted
    assert site.machine.boot_id() != before.boot


def test_redis_goes_on(rebooted: tuple[Site, Before]) -> None:
    site, before = rebooted
    assert site.outcome("redis") == "resumed", site.reason("redis")
    assert site.seen_in("redis") == before.redis


def test_a_process_that_is_not_root_with_a_memory_limit(rebooted: tuple[Site, Before]) -> None:
    site, before = rebooted
    assert site.outcome("limited") == "resumed", site.reason("limited")
    assert site.seen_in("limited") == before.limited
    cgroup = f"/sys/fs/cgroup/system.slice/docker-{site.inspect('limited', '{{.Id}}')}.scope"
    assert site.machine.succeed(f"cat {cgroup}/memory.max").strip() == str(64 << 20)
    init = site.machine.succeed(f"head -1 {cgroup}/cgroup.procs").strip()
    assert site.machine.succeed(f"stat -c %u /proc/{init}").strip() == "1000"
    assert "docker-default" in site.machine.succeed(f"cat /proc/{init}/attr/current")


def test_as_many_threads_as_the_limit_allows(rebooted: tuple[Site, Before]) -> None:
    site, before = rebooted
    assert site.outcome("threads") == "resumed", site.reason("threads")
    counted, threads = _threads(site)
    assert threads == PIDS
    assert counted >= before.threads
    cgroup = f"/sys/fs/cgroup/system.slice/docker-{site.inspect('threads', '{{.Id}}')}.scope"
    assert site.machine.succeed(f"cat {cgroup}/pids.max").strip() == str(PIDS)
    site.wait_for(lambda: _threads(site)[0] > counted)


def test_the_oom_score_is_the_containers(rebooted: tuple[Site, Before]) -> None:
    site, _ = rebooted
    cgroup = f"/sys/fs/cgroup/system.slice/docker-{site.inspect('redis', '{{.Id}}')}.scope"
    init = site.machine.succeed(f"head -1 {cgroup}/cgroup.procs").strip()
    assert site.machine.succeed(f"cat /proc/{init}/oom_score_adj").strip() == "0"


def test_docker_stats_shows_the_container(rebooted: tuple[Site, Before]) -> None:
    site, _ = rebooted
    shown = site.machine.succeed("docker stats --no-stream --format '{{.PIDs}} {{.MemUsage}}' limited")
    assert "64MiB" in shown
    assert int(shown.split()[0]) < 20
    assert REDIS.split()[0] in site.machine.succeed("docker top redis")
