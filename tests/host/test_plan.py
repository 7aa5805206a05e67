"""guardianctl plan: says beforehand what the checkpoint then does, and touches nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.host.outside import client, unnoticed
from tests.host.site import Site

LISTENER = """\
import socket
server = socket.socket(socket.AF_UNIX)
server.bind("/run/outside/db.sock")
server.listen()
kept = []
while True:
    kept.append(server.accept())
"""
CONNECTED = """\
import socket, time
client = socket.socket(socket.AF_UNIX)
client.connect("/run/outside/db.sock")
time.sleep(100000)
"""
RING = "import ctypes; print(ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120)), flush=True)"


def plan(site: Site, *names: str, status: int = 0) -> dict[str, Any]:
    ended, told = site.machine.execute(f"guardianctl plan --json {' '.join(names)}")
    assert ended == status, told
    return dict(json.loads(told))


def by_name(made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in made["containers"]}


def forbidding(item: dict[str, Any]) -> list[str]:
    return [obstacle["what"] for obstacle in item["obstacles"] if obstacle["forbids"]]


def test_healthy_containers_with_connections_and_dependencies(site: Site) -> None:
    site.program("srv", "server 80", "-p 8080:80")
    site.redis("db", "--label guardian.depends-on=srv")
    begun = site.machine.succeed("cat /proc/$(docker inspect -f '{{.State.Pid}}' db)/stat | cut -d ' ' -f 22")
    with client(site, 8080, count=3) as outside:
        made = plan(site)
        unnoticed(outside, count=3)
    found = by_name(made)
    assert {name: item["savable"] for name, item in found.items()} == {"srv": True, "db": True}
    assert found["srv"]["obstacles"] == found["db"]["obstacles"] == []
    assert (found["srv"]["connections"], found["srv"]["lost"]) == (3, "")
    assert made["save"] == [["db", "srv"]]
    assert [node["name"] for node in made["resume"]] == ["srv"]
    assert [node["name"] for node in made["resume"][0]["then"]] == ["db"]
    assert made["total"]["fits_time"]
    told = site.machine.succeed("guardianctl plan db")
    assert "db: can be saved" in told
    assert "srv:" not in told
    # Nothing was touched.
    stat = "cat /proc/$(docker inspect -f '{{.State.Pid}}' db)/stat | cut -d ' ' -f 22"
    assert site.machine.succeed(stat) == begun
    assert site.seen_in("db").value == "42"
    assert site.machine.succeed("guardianctl checkpoints --json").strip() == "[]"


def test_what_stands_in_the_way_is_said_with_its_cure(site: Site) -> None:
    site.machine.write("/root/listener.py", LISTENER)
    site.machine.write("/root/connected.py", CONNECTED)
    site.machine.succeed("mkdir -p /run/outside; systemd-run --unit=outside python3 /root/listener.py")
    site.machine.wait_until_succeeds("test -S /run/outside/db.sock")
    try:
        mounts = "-v /run/outside:/run/outside -v /root/connected.py:/c.py:ro"
        site.run("linked", "python3 /c.py", mounts)
        site.run("gone", "sleep infinity", "--rm")
        site.run("talked", "sleep infinity")
        site.machine.succeed("docker exec -d talked sleep 1000")
        site.machine.wait_until_succeeds("guardianctl plan linked | grep db.sock")
        found = by_name(plan(site, status=3))
        assert "/run/outside/db.sock" in forbidding(found["linked"])[0]
        assert "--rm" in forbidding(found["gone"])[0]
        assert forbidding(found["talked"]) == []
        assert "(sleep)" in found["talked"]["obstacles"][0]["what"]
        assert "linked: CANNOT be saved" in site.machine.execute("guardianctl plan")[1]
        plan(site, "linked", status=1)
        # The plan is right: the dump says the same.
        assert "failed" in site.machine.execute("guardianctl snapshot linked 2>&1")[1]
    finally:
        site.machine.succeed("systemctl stop outside; rm -rf /run/outside")


def test_an_io_uring_stands_in_the_way(site: Site) -> None:
    site.machine.write("/root/ring.py", f"{RING}\nimport time; time.sleep(100000)\n")
    site.run("ring", "python3 /r.py", "-v /root/ring.py:/r.py:ro", "--security-opt seccomp=unconfined")
    site.machine.wait_until_succeeds("docker logs ring | grep .")
    if "-1" in site.machine.succeed("docker logs ring"):
        pytest.skip("this kernel has no io_uring, or it is turned off")
    assert "io_uring" in forbidding(by_name(plan(site, "ring", status=1))["ring"])[0]


def test_a_ceiling_that_is_too_low(site: Site) -> None:
    site.redis("db")
    site.set_up_guardian('[store]\nmax-container-size = "100K"\n')
    found = by_name(plan(site, status=1))
    assert "larger than store.max-container-size" in forbidding(found["db"])[0]


def test_size_and_time_are_those_of_the_real_checkpoint(site: Site) -> None:
    site.redis("db")
    site.machine.succeed("docker exec db redis-cli debug populate 50000 k 1000")
    foretold = by_name(plan(site))["db"]
    site.machine.succeed("guardianctl snapshot db")
    (real,) = json.loads(site.machine.succeed("guardianctl checkpoints --json"))
    assert foretold["size"] > 50_000_000
    assert real["size"] / 1.5 < foretold["size"] < real["size"] * 1.5
    assert foretold["seconds"] > 0


SHARED = """\
import mmap, os, time
held = mmap.mmap(-1, 64 << 20)
held.write(os.urandom(64 << 20))
for _ in range(8):
    if not os.fork():
        held.seek(0)
        held.read()
        break
print("ready", flush=True)
time.sleep(100000)
"""


def test_shared_memory_is_foretold_once(site: Site) -> None:
    """As a database's buffers are: nine processes have all of it."""
    site.machine.write("/root/shared.py", SHARED)
    site.run("buffers", "python3 -u /shared.py", "-v /root/shared.py:/shared.py:ro")
    site.wait_for(lambda: site.machine.succeed("docker logs buffers").count("ready") == 9)
    foretold = by_name(plan(site))["buffers"]["size"]
    site.machine.succeed("guardianctl snapshot buffers")
    (real,) = json.loads(site.machine.succeed("guardianctl checkpoints --json"))
    assert real["size"] / 1.5 < foretold < real["size"] * 1.5


def test_over_the_bus(site: Site) -> None:
    site.redis("db")
    place = "org.dockerguardian.Guardian1 /org/dockerguardian/Guardian1 org.dockerguardian.Guardian1"
    told = json.loads(site.machine.succeed(f"busctl --json=short call {place} Plan 'asa{{sv}}' 1 db 0"))
    assert by_name(json.loads(told["data"][0]))["db"]["savable"]
    status, said = site.machine.execute("guardianctl plan nobody 2>&1")
    assert status == 4
    assert "no container" in said


MANY = """\
import subprocess, time
kept = [subprocess.Popen(["sleep", "1000000"]) for _ in range(600)]
print("ready", flush=True)
time.sleep(100000)
"""


def test_a_restore_of_too_many_processes_is_foretold_and_started_cold(site: Site) -> None:
    site.machine.write("/root/many.py", MANY)
    site.run("many", "python3 /m.py", "-v /root/many.py:/m.py:ro", "--restart always", "--init")
    site.run("one", "sleep 100000")
    ready = "[ $(docker top many | grep -c sleep) = 600 ]"
    site.machine.wait_until_succeeds(ready)
    site.set_up_guardian('[restore]\ncontainer-timeout = "2s"\n')
    found = by_name(plan(site))
    assert forbidding(found["many"]) == []
    assert "processes may take longer" in found["many"]["obstacles"][0]["what"]
    assert found["one"]["obstacles"] == []
    site.restart_docker()
    assert site.outcome("many") == "cold"
    assert "restore took longer than 2 s" in site.reason("many")
    assert site.outcome("one") == "resumed"
    # Nothing of what was half restored is beside what was started anew.
    site.machine.wait_until_succeeds(ready)
