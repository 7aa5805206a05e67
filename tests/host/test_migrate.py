"""guardianctl migrate: a running container goes to another host, and back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.gate import Gate, mark_is_there
from tests.host.lab import Lab
from tests.host.outside import client, unnoticed
from tests.host.site import REDIS, Site
from tests.host.test_terminal import typed
from tests.migrate.faults import store

PINNED = "docker network create --subnet 10.78.0.0/24 pinned"
COMPOSE = """\
services:
  db:
    image: work:1
    command: redis-server --save '' --enable-debug-command yes --protected-mode no
    volumes: ["data:/data"]
  cache:
    image: work:1
    command: redis-server --save '' --protected-mode no
  app:
    image: work:1
    command: python3 -u /talker.py db 6379
    volumes: ["/root/talker.py:/talker.py:ro"]
    depends_on: [db]
  front:
    image: work:1
    command: python3 -u /talker.py cache 6379
    volumes: ["/root/talker.py:/talker.py:ro"]
    depends_on: [cache, app]
    ports: ["8088:80"]
volumes: {data: {}}
"""
TALKER = """\
import socket, sys, time, os
connections = done = 0
while True:
    try:
        connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    except OSError:
        time.sleep(0.1)
        continue
    connections += 1
    lines = connection.makefile("rwb")
    while True:
        lines.write(b"INCR n\\r\\n"); lines.flush()
        if not (answer := lines.readline()):
            break
        done += 1
        assert answer == b":%d\\r\\n" % done, answer
        open("/new", "w").write(f"{done} {connections}"); os.rename("/new", "/seen")
        time.sleep(0.02)
"""


def migrated(site: Site, arguments: str) -> dict[str, Any]:
    """`guardianctl migrate --json`."""
    found: dict[str, Any] = json.loads(
        site.machine.succeed(f"guardianctl migrate --json {arguments}", timeout=240)
    )
    return found


def refused(site: Site, arguments: str) -> str:
    """What a migrate says that is refused, status 4."""
    status, said = site.machine.execute(f"guardianctl migrate {arguments} 2>&1", timeout=240)
    assert status == 4, said
    return said


def nothing_left(site: Site) -> None:
    """No move is open, nothing is held, no container, network or volume of a test is there."""
    site.machine.succeed("! ls -d /var/lib/guardian/checkpoints/.arrivals/*/ 2>/dev/null")
    assert site.machine.succeed("ls /run/guardian/holds").strip() == ""
    assert site.machine.succeed("docker ps -aq; docker volume ls -q").strip() == ""
    assert site.machine.succeed("docker network ls -q --filter type=custom").strip() == ""


def seen(site: Site, name: str) -> tuple[int, int]:
    """How many answers a talker has got, over how many connections."""
    done, connections = site.machine.succeed(f"docker exec {name} cat /seen").split()
    return int(done), int(connections)


def test_there_and_back_three_times(lab: Lab) -> None:
    before = lab.one.redis("web", "--restart always -v data:/data -v /anonymous", guarded=False)
    lab.one.machine.succeed(
        "docker exec web sh -c 'echo volume >/data/f; echo none >/anonymous/f; echo layer >/root/f; rm /etc/motd;"
        " mkdir /data/sub; ln -s f /data/link; dd if=/dev/urandom of=/data/big bs=1M count=8 status=none'"
    )
    sums = "docker exec web sh -c 'cd / && md5sum /data/big /data/f /data/link /anonymous/f /root/f'"
    files = lab.one.machine.succeed(sums)
    here, there, names = lab.one, lab.two, ["two", "one"]
    for _ in range(3):
        for name in names:
            found = migrated(here, f"web {name}")
            assert [result["outcome"] for result in found["results"]] == ["resumed"]
            assert there.seen_in("web") == before
            assert there.machine.succeed(sums) == files
            there.machine.fail("docker exec web test -e /etc/motd")
            there.machine.succeed("docker exec web test -d /data/sub")
            assert there.inspect("web", "{{.HostConfig.RestartPolicy.Name}}") == "always"
            assert here.inspect("web", "{{.State.Running}}") == "false"
            assert "moved to" in here.machine.fail("docker start web 2>&1")
            here, there = there, here
    for site in (lab.one, lab.two):
        assert len(site.machine.succeed("docker ps -aq").split()) == 1
    # The host that it left does not start it either, whatever its policy.
    lab.two.reboot()
    assert lab.two.inspect("web", "{{.State.Running}}") == "false"
    lab.two.machine.succeed("docker rm web")
    assert lab.one.seen_in("web") == before


def test_a_compose_project_moves_as_one(lab: Lab) -> None:
    for site in (lab.one, lab.two):
        site.machine.write("/root/talker.py", TALKER)
    lab.one.machine.write("/root/shop/compose.yaml", COMPOSE)
    lab.one.machine.succeed("cd /root/shop && docker compose up -d", timeout=120)
    for name in ("shop-app-1", "shop-front-1"):
        lab.one.machine.wait_until_succeeds(f"docker exec {name} test -s /seen")

    found = migrated(lab.one, "--compose shop two")

    assert [result["outcome"] for result in found["results"]] == ["resumed"] * 4
    names = [result["name"] for result in found["results"]]
    assert names.index("shop-db-1") < names.index("shop-app-1")
    for name in ("shop-app-1", "shop-front-1"):
        done, _ = seen(lab.two, name)
        lab.two.wait_for(lambda name=name, done=done: seen(lab.two, name)[0] > done + 10)  # type: ignore[misc]
        assert seen(lab.two, name)[1] == 1, "the connection between the members went on"
    lab.two.machine.write("/root/shop/compose.yaml", COMPOSE)
    shown = lab.two.machine.succeed("cd /root/shop && docker compose up -d 2>&1", timeout=120)
    assert "Recreate" not in shown
    assert "Started" not in shown


def test_a_terminal_moves(lab: Lab) -> None:
    lab.one.run("shell", "bash --norc -i", "-it", guarded=False)
    typed(lab.one, "shell", "X=remember$((6*7))\\n")
    migrated(lab.one, "shell two")
    assert "remember42" in typed(lab.two, "shell", "echo $X\\n")


def test_what_is_written_meanwhile_arrives(lab: Lab) -> None:
    lab.two.machine.write("/root/counter.py", "")  # a bind mount of the test's own
    lab.one.counter("counter", volume="numbers")
    lab.one.machine.wait_until_succeeds("docker exec counter test -s /data/n")
    lab.two.machine.write("/root/counter.py", lab.one.machine.read("/root/counter.py"))
    before = int(lab.one.machine.succeed("docker exec counter cat /data/n"))
    token = lab.one.machine.succeed("docker exec counter cat /data/token")
    found = migrated(lab.one, "counter two")
    assert [(result["outcome"], result["reason"]) for result in found["results"]] == [("resumed", "")]
    left = int(lab.one.machine.succeed("cat /var/lib/docker/volumes/numbers/_data/n"))
    lab.two.wait_for(lambda: int(lab.two.machine.succeed("docker exec counter cat /data/n")) > left + 20)
    assert left >= before
    assert lab.two.machine.succeed("docker exec counter cat /data/token") == token


def test_a_container_with_an_address_of_its_own_keeps_its_clients(lab: Lab) -> None:
    prefix = lab.one.machine.address.rpartition(".")[0]
    address = f"{prefix}.77"
    for site in (lab.one, lab.two):
        site.machine.succeed(
            f"docker network create -d macvlan --subnet {prefix}.0/24 -o parent=host0 street"
        )
        site.machine.copy_to(Path(__file__).parents[1] / "programs" / "server.py", "/root/server.py")
    lab.one.program("server", "server 80", f"--network street --ip {address}", guarded=False)
    with client(lab.one, 80, host=address) as outside:
        found = migrated(lab.one, "server two")
        assert found["results"][0]["reason"] == ""
        unnoticed(outside)


HOOK = """\
#!/bin/sh
echo "$GUARDIAN_EVENT $GUARDIAN_CONTAINER $GUARDIAN_HOST $GUARDIAN_ADDRESSES" >>/root/told
case $1 in
addresses) echo {address} ;;
leave) ip address del {address}/24 dev host0 ;;
arrive) ip address add {address}/24 dev host0 ;;
esac
"""


def test_an_address_of_the_host_moves_along(lab: Lab) -> None:
    """A published port on an address that a hook moves: its clients notice nothing, there and back."""
    address = f"{lab.one.machine.address.rpartition('.')[0]}.88"
    for site in (lab.one, lab.two):
        site.machine.copy_to(Path(__file__).parents[1] / "programs" / "server.py", "/root/server.py")
        site.machine.write("/etc/guardian/hooks/address", HOOK.format(address=address))
        site.machine.succeed("chmod 755 /etc/guardian/hooks/address; rm -f /root/told")
    lab.one.machine.succeed(f"ip address add {address}/24 dev host0")
    lab.one.program("server", "server 80", "-p 8080:80 -l guardian.hook=address", guarded=False)
    try:
        with client(lab.one, 8080, host=address) as outside:
            for here, there in ((lab.one, "two"), (lab.two, "one")):
                assert "close" not in here.machine.succeed(f"guardianctl migrate --check server {there} 2>&1")
                found = migrated(here, f"server {there}")
                assert found["results"][0]["reason"] == ""
                unnoticed(outside)
        said = lab.two.machine.read("/root/told").splitlines()
        assert f"arrive server one {address}" in said
        assert f"leave server one {address}" in said
        assert not lab.one.machine.succeed("ls /var/lib/guardian/fence").split()
        lab.two.machine.succeed("chmod g+w /etc/guardian/hooks/address")
        status, text = lab.one.machine.execute("guardianctl migrate --check server two 2>&1")
        assert status == 4
        assert "the hook 'address' is not root's alone" in text
    finally:
        for site in (lab.one, lab.two):
            site.machine.execute(
                f"rm -r /etc/guardian/hooks; ip address del {address}/24 dev host0; docker rm -f server"
            )


SILENT = """\
import socket, sys
connection = socket.create_connection((sys.argv[1], 8080))
connection.sendall(b"x\\n")
connection.recv(99)
print("ready", flush=True)
try:
    connection.recv(1)
except ConnectionResetError:
    sys.exit(7)
"""


def test_connections_from_outside_are_closed_and_said(lab: Lab) -> None:
    """One that talks, and one that says nothing, has no keepalives, and would wait for ever."""
    lab.two.machine.copy_to(Path(__file__).parents[1] / "programs" / "server.py", "/root/server.py")
    lab.one.program("server", "server 80", "-p 8080:80", guarded=False)
    argv = [sys.executable, "-c", SILENT, lab.one.machine.address]
    with (
        client(lab.one, 8080) as outside,
        lab.one.network.peer_popen(argv, stdout=subprocess.PIPE) as silent,
    ):
        assert silent.stdout is not None
        assert silent.stdout.readline() == b"ready\n"
        said = lab.one.machine.succeed("guardianctl migrate --check server two 2>&1")
        assert "server: the move would close 2 of 2 connections" in said
        migrated(lab.one, "server two")
        lab.one.wait_for(lambda: outside.seen()["resets"] > 0)
        assert silent.wait(30) == 7
    with client(lab.two, 8080) as outside:
        unnoticed(outside)


@pytest.mark.parametrize(
    ("prepare", "options", "why"),
    [
        ("docker run -d --name web work:1 sleep infinity", "", "there is a container 'web' already"),
        (
            "python3 -m http.server 8090 >/dev/null 2>&1 &",
            "-p 8090:80",
            "publishes 8090/tcp, which is not to be had",
        ),
        (
            "docker run --rm -v data:/d work:1 touch /d/x",
            "-v data:/data",
            "there is a volume data with content",
        ),
        ("true", "-v /root/only-here:/mnt", "'/root/only-here' is not there"),
        (
            f"{PINNED} && docker run -d --network pinned --ip 10.78.0.9 work:1 sleep infinity",
            "--network pinned --ip 10.78.0.9",
            "10.78.0.9 is taken",
        ),
    ],
)
def test_what_is_in_the_way_is_said_beforehand(lab: Lab, prepare: str, options: str, why: str) -> None:
    lab.one.machine.succeed(f"mkdir -p /root/only-here; {PINNED}")
    lab.two.machine.succeed(prepare)
    before = lab.one.redis("web", options, guarded=False)
    there = lab.two.machine.succeed("docker ps -aq; docker volume ls -q; docker network ls -q | sort")
    started = lab.one.inspect("web", "{{.State.StartedAt}}")
    try:
        assert why in refused(lab.one, "web two")
        assert why in refused(lab.one, "--check web two")
    finally:
        lab.two.machine.execute("kill %1 $(ss -tlnpH sport = :8090 | grep -o 'pid=[0-9]*' | cut -d= -f2)")
    assert lab.one.seen_in("web") == before
    assert lab.one.inspect("web", "{{.State.StartedAt}}") == started
    assert lab.two.machine.succeed("docker ps -aq; docker volume ls -q; docker network ls -q | sort") == there


def test_a_host_that_cannot_be_reached_or_has_no_guardian(lab: Lab) -> None:
    before = lab.one.redis("web", guarded=False)
    for host, why in (("nowhere", "no connection to nowhere"), ("-oProxyCommand=x", "is no host")):
        said = lab.one.machine.fail(f"guardianctl migrate web -- {host} 2>&1")
        assert why in said
    lab.two.machine.succeed("mv /usr/bin/guardianctl /usr/bin/guardianctl.away")
    try:
        assert "guardian is not on two" in lab.one.machine.fail("guardianctl migrate web two 2>&1")
    finally:
        lab.two.machine.succeed("mv /usr/bin/guardianctl.away /usr/bin/guardianctl")
    lab.one.machine.succeed(
        "cp /root/.ssh/known_hosts /root/kept; rm -f /root/key*; ssh-keygen -q -t ed25519 -N '' -f /root/key;"
        " echo two $(cut -d ' ' -f 1,2 /root/key.pub) >/root/.ssh/known_hosts"
    )
    try:
        assert "no connection to two" in lab.one.machine.fail("guardianctl migrate web two 2>&1")
    finally:
        lab.one.machine.succeed("mv /root/kept /root/.ssh/known_hosts")
    assert lab.one.seen_in("web") == before
    nothing_left(lab.two)


def test_two_moves_of_one_container_at_once(lab: Lab) -> None:
    before = lab.one.redis("web", guarded=False)
    lab.one.machine.succeed(f"docker exec web redis-cli debug populate 300000 k 200; : {REDIS}")
    lab.one.machine.succeed(
        "for i in 1 2; do guardianctl migrate web two >/root/out$i 2>&1; echo $? >/root/status$i & done; wait",
        timeout=240,
    )
    statuses = lab.one.machine.succeed("cat /root/status1 /root/status2").split()
    assert statuses.count("0") == 1, lab.one.machine.succeed("cat /root/out1 /root/out2")
    assert lab.two.seen_in("web") == before
    assert len(lab.two.machine.succeed("docker ps -q").split()) == 1
    assert lab.one.machine.succeed("docker ps -q").strip() == ""


def test_a_word_that_gets_lost_is_resolved(lab: Lab) -> None:
    """The source commits and its guardianctl dies before it can say so: the target waits, held, also over a reboot."""
    before = lab.one.redis("web", "--restart always", guarded=False)
    gate = Gate(store(lab.one), mark_is_there("verdict"), 0)
    try:
        lab.one.machine.succeed("systemd-run --unit=moving guardianctl migrate web two")
        assert gate.reached(limit=120)
        # The move has its verdict, and the script that has written it stands: nobody has been told.
        assert lab.one.machine.succeed("cat /var/lib/guardian/store/.moves/*/verdict") == "commit\n"
        lab.one.machine.succeed("systemctl kill --signal=KILL moving")
        lab.two.machine.wait_until_succeeds("! pgrep -f '[g]uardianctl receive'")
    finally:
        gate.open()
    lab.two.reboot()
    assert lab.two.inspect("web", "{{.State.Running}}") == "false"
    assert "undecided" in lab.two.machine.fail("docker start web 2>&1")
    assert "migrate --resolve" in lab.two.machine.fail("guardianctl release web 2>&1")
    lab.one.wait_for(lambda: lab.one.inspect("web", "{{.State.Running}}") == "false")
    lab.one.machine.succeed("guardianctl migrate --resolve two", timeout=120)
    assert lab.two.seen_in("web") == before
    assert lab.one.inspect("web", "{{.State.Running}}") == "false"
    assert "nothing is open" in lab.one.machine.succeed("guardianctl migrate --resolve two")
