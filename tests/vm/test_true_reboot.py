"""One true reboot: Debian's own kernel, limits, threads, a process that is not root."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.outside import Program, client, program, unnoticed
from tests.host.site import REDIS, Redis, Site
from tests.machines import VirtualMachine
from tests.machines.network import BRIDGE

PIDS = 24
OOM_SCORE = 321
"""No default of anything."""
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


FULL = 0.97
_FULL = f"""\
import os, time
most = int(open("/sys/fs/cgroup/memory.max").read())
kept = []
while int(open("/sys/fs/cgroup/memory.current").read()) < {FULL} * most:
    kept.append(os.urandom(65536))
token = kept[0][:8].hex()
n = 0
while True:
    n += 1
    open("/state/new", "w").write(f"{{token}} {{n}}"); os.rename("/state/new", "/state/seen"); time.sleep(0.2)
"""
"""Has as much memory as it can and is known by it; a folder of the host's, since an exec would not fit any more."""


@dataclasses.dataclass(frozen=True)
class Before:
    """What was there before the reboot."""

    redis: Redis
    limited: Redis
    threads: int
    full: str
    boot: str
    clients: tuple[Program, ...]
    capture: Program


@pytest.fixture(scope="module")
def rebooted(package: Path) -> Iterator[tuple[Site, Before]]:
    """The machine after its reboot, and what was there before."""
    with VirtualMachine() as machine, contextlib.ExitStack() as stack:
        site = Site(machine)
        site.install(package)
        redis = site.redis("redis", f"--restart always --oom-score-adj {OOM_SCORE}")
        limited = site.redis("limited", "--user 1000:1000 --memory 64m --memory-swap 64m -w /tmp")
        machine.write("/root/threads.py", _THREADS)
        site.run("threads", "python3 /threads.py", f"--pids-limit {PIDS} -v /root/threads.py:/threads.py:ro")
        seen = _threads(site)
        machine.write("/root/full.py", _FULL)
        state = "--memory 64m --memory-swap 64m -v /root/state:/state -v /root/full.py:/full.py:ro"
        site.run("full", "python3 /full.py", f"--restart always {state}")
        site.machine.wait_until_succeeds("test -s /root/state/seen")
        full = machine.succeed("cat /root/state/seen").split()[0]
        site.program("web", "server 80", "-p 8080:80")
        clients = [stack.enter_context(client(site, 8080, count=3))]
        prefix = site.network.gateway.rpartition(".")[0]
        card = machine.succeed(f"ip -o -4 address | awk '/{prefix}/ {{ print $2 }}'").strip()
        lan = f"--subnet {prefix}.0/24 --gateway {site.network.gateway} -o parent={card}"
        machine.succeed(f"docker network create -d ipvlan {lan} lan")
        site.program("beside", "server 80", f"--network lan --ip {prefix}.200")
        clients.append(stack.enter_context(client(site, 80, host=f"{prefix}.200")))
        capture = stack.enter_context(program(site.network, "resets", BRIDGE))
        before = Before(redis, limited, seen[0], full, machine.boot_id(), tuple(clients), capture)
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


def test_clients_outside_noticed_nothing(rebooted: tuple[Site, Before]) -> None:
    """Through a published port and, ipvlan, beside the host; no reset was sent while this kernel went and came."""
    site, before = rebooted
    for number, name in enumerate(("web", "beside")):
        assert (site.outcome(name), site.reason(name)) == ("resumed", "")
        assert before.capture.lines() == ["ready"], before.clients[number].seen()
        unnoticed(before.clients[number], count=(3, 1)[number])


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


def test_97_percent_of_its_memory(rebooted: tuple[Site, Before]) -> None:
    site, before = rebooted
    assert site.outcome("full") == "resumed", site.reason("full")
    token, counted = site.machine.succeed("cat /root/state/seen").split()
    assert token == before.full
    site.wait_for(lambda: int(site.machine.succeed("cat /root/state/seen").split()[1]) > int(counted))
    cgroup = f"/sys/fs/cgroup/system.slice/docker-{site.inspect('full', '{{.Id}}')}.scope"
    assert site.machine.succeed(f"cat {cgroup}/memory.max").strip() == str(64 << 20)


def test_the_oom_score_is_the_containers(rebooted: tuple[Site, Before]) -> None:
    site, _ = rebooted
    cgroup = f"/sys/fs/cgroup/system.slice/docker-{site.inspect('redis', '{{.Id}}')}.scope"
    init = site.machine.succeed(f"head -1 {cgroup}/cgroup.procs").strip()
    assert site.machine.succeed(f"cat /proc/{init}/oom_score_adj").strip() == str(OOM_SCORE)


def test_docker_stats_shows_the_container(rebooted: tuple[Site, Before]) -> None:
    site, _ = rebooted
    shown = site.machine.succeed("docker stats --no-stream --format '{{.PIDs}} {{.MemUsage}}' limited")
    assert "64MiB" in shown
    assert int(shown.split()[0]) < 20
    assert REDIS.split()[0] in site.machine.succeed("docker top redis")


def test_an_oom_kill_after_the_restore_is_seen_as_one(rebooted: tuple[Site, Before]) -> None:
    site, _ = rebooted
    site.machine.execute("docker exec limited redis-cli debug populate 3000000 k 100", timeout=300)
    site.machine.wait_until_succeeds("[ $(docker inspect -f '{{.State.Status}}' limited) = exited ]")
    assert site.inspect("limited", "{{.State.OOMKilled}} {{.State.ExitCode}}") == "true 137"


def test_kexec(rebooted: tuple[Site, Before]) -> None:
    """Another boot, past the firmware."""
    site, before = rebooted
    machine, boot = site.machine, site.machine.boot_id()
    assert isinstance(machine, VirtualMachine)
    machine.kexec()
    site.wait_restored()
    assert machine.boot_id() != boot
    assert (site.outcome("redis"), site.reason("redis")) == ("resumed", "")
    assert site.seen_in("redis") == before.redis
    unnoticed(before.clients[0], count=3)
    assert before.capture.lines() == ["ready"]


def test_poweroff_and_boot(rebooted: tuple[Site, Before]) -> None:
    site, before = rebooted
    site.poweroff()
    assert (site.outcome("redis"), site.reason("redis")) == ("resumed", "")
    assert site.seen_in("redis") == before.redis
    unnoticed(before.clients[0], count=3)


def test_a_kernel_that_panics(rebooted: tuple[Site, Before]) -> None:
    """The last one: what was saved is resumed, what was not starts cold and says why."""
    site, before = rebooted
    machine = site.machine
    assert isinstance(machine, VirtualMachine)
    site.redis("lost", "--restart always")
    machine.succeed("guardianctl checkpoint redis")
    machine.panic()
    site.wait_restored()
    assert site.outcome("redis") == "resumed", site.reason("redis")
    assert site.seen_in("redis") == before.redis
    assert site.outcome("lost") == "cold"
    assert site.reason("lost") == "the host or dockerd went down without a checkpoint"
    assert site.inspect("redis", "{{.HostConfig.RestartPolicy.Name}}") == "always"
    assert not machine.succeed("ls /run/guardian/holds").split()
