"""Groups and the graph: order, gates, and that one member does not hold the others back."""

from __future__ import annotations

import pytest

from tests.host.site import REDIS, Site

SLEEP = "sleep infinity"


def _began(site: Site, name: str) -> float:
    """When the container was allowed to run on: its `spent` mark. Docker 28 sets StartedAt before the gate."""
    container = site.inspect(name, "{{.Id}}")
    folder = f"/var/lib/guardian/store/{container}"
    return float(site.machine.succeed(f"stat -c %.9Y $(ls -d {folder}/* | tail -1)/ledger/spent"))


def _depends(on: str) -> str:
    return f"--label guardian.depends-on={on}"


def test_dependencies_come_back_first(site: Site) -> None:
    site.run("a-top", SLEEP, _depends("m-middle"))
    site.run("m-middle", SLEEP, _depends("z-bottom"))
    site.run("z-bottom", SLEEP)
    site.run("alone", SLEEP)

    site.restart_docker()

    assert {site.outcome(name) for name in ("a-top", "m-middle", "z-bottom", "alone")} == {"resumed"}
    assert _began(site, "z-bottom") < _began(site, "m-middle") < _began(site, "a-top")


def test_a_dependent_waits_for_health(site: Site) -> None:
    check = "--health-cmd 'test -e /healthy' --health-interval 300s --health-start-period 0s"
    site.run("db", "sh -c 'while sleep 1; do date +%s%N >/tick; done'", check)
    site.run("app", SLEEP, _depends("db:healthy"))
    site.machine.succeed("guardianctl checkpoint")
    site.machine.succeed("systemd-run --unit=asked guardianctl restore")
    site.machine.wait_until_succeeds("docker exec db true")
    site.machine.succeed("sleep 2; [ -z $(docker ps -q --filter name=app) ]")
    assert set(site.list()) == {"app", "db"}, "the list does not wait for a start that waits"
    at = float(site.machine.succeed("date +%s.%N; docker exec db touch /healthy"))
    site.machine.wait_until_succeeds("docker exec app true")
    assert site.outcome("app") == "resumed"
    assert _began(site, "app") > at


def test_a_connection_between_members_goes_on(site: Site) -> None:
    site.machine.write("/root/app.py", TALKER)
    site.machine.succeed("docker network create shop")
    site.run("redis", f"{REDIS} --protected-mode no", "--network shop")
    site.run("app", "python3 -u /app.py", "--network shop -v /root/app.py:/app.py:ro", _depends("redis"))
    site.machine.wait_until_succeeds("docker exec app test -s /seen")
    site.restart_docker()
    before = site.machine.succeed("docker exec app cat /seen").split()
    site.wait_for(lambda: site.machine.succeed("docker exec app cat /seen").split()[0] > before[0])
    connections = site.machine.succeed("docker exec app cat /seen").split()[1]
    assert connections == "1"


TALKER = """\
import socket, time
connections = done = 0
while True:
    try:
        connection = socket.create_connection(("redis", 6379))
    except OSError:
        time.sleep(0.1)
        continue
    connections += 1
    lines = connection.makefile("rwb")
    while True:
        lines.write(b"PING\\r\\n"); lines.flush()
        if not lines.readline():
            break
        done += 1
        open("/new", "w").write(f"{done:09} {connections}"); __import__("os").rename("/new", "/seen")
        time.sleep(0.05)
"""


@pytest.mark.parametrize(("policy", "expected"), [("best-effort", "saved"), ("all-or-nothing", "failed")])
def test_one_member_that_cannot_be_dumped(site: Site, policy: str, expected: str) -> None:
    """A connected unix socket to the host is what CRIU cannot dump (trap 4)."""
    site.machine.succeed("systemctl stop listener; rm -f /root/listen.sock /root/accepted")
    site.machine.succeed(
        "systemd-run --unit=listener python3 -c 'import socket,time\n"
        "s=socket.socket(socket.AF_UNIX)\n"
        's.bind("/root/listen.sock"); s.listen(); c=s.accept(); open("/root/accepted", "w")\n'
        "time.sleep(1e6)'"
    )
    site.machine.wait_until_succeeds("test -S /root/listen.sock")
    site.run("good", SLEEP)
    site.run(
        "bad",
        "python3 -c 'import socket,time; s=socket.socket(socket.AF_UNIX); s.connect(\"/s\"); time.sleep(1e6)'",
        "-v /root/listen.sock:/s",
        _depends("good"),
        f"--label guardian.group={policy}",
    )
    site.machine.wait_until_succeeds("test -e /root/accepted")
    _, told = site.machine.execute("guardianctl checkpoint --json 2>/dev/null")
    assert f'"outcome": "{expected}"' in told
    assert site.inspect("bad", "{{.State.Running}}") == "true"
    assert site.inspect("bad", "{{.State.Paused}}") == "false"
    site.machine.succeed("docker exec bad true")
    if policy == "all-or-nothing":
        site.machine.succeed("docker exec good true")
    site.machine.succeed("systemctl stop listener")


def test_cycle_unknown_and_unguarded_dependencies_stop_nobody(site: Site) -> None:
    site.run("one", SLEEP, _depends("two"))
    site.run("two", SLEEP, _depends("one"))
    site.run("three", SLEEP, _depends("nobody,plain"))
    site.run("plain", SLEEP, guarded=False)
    listed = site.list()
    assert any("cycle" in text for text in listed["one"]["problems"])
    assert any("nobody" in text for text in listed["three"]["problems"])
    assert any("plain" in text for text in listed["three"]["problems"])
    site.restart_docker()
    assert {site.outcome(name) for name in ("one", "two", "three")} == {"resumed"}


def test_labels_of_compose(site: Site) -> None:
    site.machine.write(
        "/root/shop/compose.yaml",
        """\
services:
  db:
    image: work:1
    command: sleep infinity
    labels: {guardian.enable: "true"}
    healthcheck: {test: ["CMD", "true"], interval: 1s}
  init:
    image: work:1
    command: "true"
  web:
    image: work:1
    command: sleep infinity
    labels: {guardian.enable: "true"}
    depends_on:
      db: {condition: service_healthy}
      init: {condition: service_completed_successfully}
""",
    )
    site.machine.succeed(
        "cd /root/shop && docker compose up -d --wait db && docker compose up -d", timeout=120
    )
    site.restart_docker()
    assert site.outcome("shop-web-1") == site.outcome("shop-db-1") == "resumed"
    assert _began(site, "shop-db-1") < _began(site, "shop-web-1")
    assert site.list()["shop-web-1"]["problems"] == []
    before = site.inspect("shop-db-1", "{{.State.StartedAt}}")
    site.machine.succeed("cd /root/shop && docker compose up -d", timeout=120)
    assert site.inspect("shop-db-1", "{{.State.StartedAt}}") == before


def test_an_image_cannot_guard_itself(site: Site) -> None:
    site.machine.succeed(
        "docker create --name made work:1 true && docker commit -c 'LABEL guardian.enable=true' made own:1"
    )
    site.machine.succeed("docker run -d --name self own:1 sleep infinity")
    assert "self" not in site.list()


def test_eight_first_generation_dumps_beside_an_admins_own_configuration(site: Site) -> None:
    site.machine.write("/etc/criu/runc.conf", "ghost-limit 4194304\n")
    before = {f"r{n}": site.redis(f"r{n}", "--restart always", value=f"v{n}") for n in range(8)}
    try:
        site.restart_docker()
    finally:
        kept = site.machine.succeed("cat /etc/criu/runc.conf; rm /etc/criu/runc.conf")
    assert kept == "ghost-limit 4194304\n"
    assert {name: site.seen_in(name) for name in before} == before
    assert {site.outcome(name) for name in before} == {"resumed"}


def test_a_file_open_under_a_removed_name_with_another_link(site: Site) -> None:
    site.machine.write(
        "/root/links.py",
        "import os, time, itertools\n"
        "token = os.urandom(8).hex()\n"
        'open("/tmp/a", "w").write("0" * 9); os.link("/tmp/a", "/tmp/b")\n'
        'f = open("/tmp/a", "r+"); os.unlink("/tmp/a")\n'
        "for i in itertools.count():\n"
        '    f.seek(0); f.write(f"{i:09} {token}"); f.flush(); time.sleep(0.05)\n',
    )
    site.run("links", "python3 -u /links.py", "-v /root/links.py:/links.py:ro")
    seen = "docker exec links cat /tmp/b"
    site.machine.wait_until_succeeds(f"{seen} | grep ' '")
    for _ in range(2):
        number, token = site.machine.succeed(seen).split()
        site.restart_docker()
        assert site.outcome("links") == "resumed"
        first = site.machine.succeed(seen)
        site.wait_for(lambda first=first: site.machine.succeed(seen) != first)  # type: ignore[misc]
        now, whose = site.machine.succeed(seen).split()
        assert now > number
        assert whose == token
