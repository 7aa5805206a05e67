"""A restore that is disturbed: an address that was taken, dockerd stopped or dead in the middle."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.host.site import REDIS, Site
from tests.host.test_order import TALKER

SLEEP = "sleep infinity"


def test_an_address_that_was_taken(site: Site) -> None:
    """dockerd starts an unguarded container at boot, which gets a guarded one's address: memory is kept.

    Whose it is depends on whether dockerd's own attempt to start redis, which is refused, comes before or after.
    """
    site.machine.write("/root/app.py", TALKER)
    site.machine.succeed("docker network create shop")
    site.run("redis", f"{REDIS} --protected-mode no", "--network shop --restart always")
    site.run("app", "python3 -u /app.py", "--network shop -v /root/app.py:/app.py:ro")
    site.machine.wait_until_succeeds("docker exec app test -s /seen")
    site.machine.succeed("docker exec redis redis-cli set value kept")
    before = site.seen_in("redis")
    site.run("thief", SLEEP, "--network shop --restart always", guarded=False)

    site.reboot()

    assert (site.outcome("redis"), site.outcome("app")) == ("resumed", "resumed"), site.reason("redis")
    assert "connections were closed" in site.reason("redis") + site.reason("app")
    assert site.seen_in("redis") == before


def _disturb_by_restart(site: Site) -> None:
    site.machine.succeed(
        "systemctl reset-failed docker.service; systemctl restart docker.service", timeout=300
    )


def _disturb_by_kill(site: Site) -> None:
    site.kill_docker()


def _disturb_by_worker(site: Site) -> None:
    site.machine.succeed("systemctl kill --kill-whom=main -s KILL guardian-worker")
    site.machine.wait_until_succeeds("guardianctl list")


@pytest.mark.parametrize("disturb", [_disturb_by_restart, _disturb_by_kill])
def test_dockerd_goes_away_during_the_restore(site: Site, disturb: Callable[[Site], None]) -> None:
    """`app` waits for the health of `db` when it happens; nothing is lost, nothing stays held."""
    site.machine.write("/etc/guardian/guardian.toml", "[restore]\nhealth-timeout = 15\n")
    site.machine.succeed("systemctl restart guardian-worker")
    try:
        before = site.redis("db", "--health-cmd 'test -e /healthy' --health-interval 300s", value="1")
        app = site.redis("app", "--label guardian.depends-on=db:healthy", value="2")
        site.machine.succeed("guardianctl checkpoint && systemd-run --unit=asked guardianctl restore")
        site.machine.wait_until_succeeds("docker exec db redis-cli ping")
        disturb(site)
        site.machine.wait_until_succeeds("docker exec app redis-cli ping", timeout=90)
        site.machine.wait_until_succeeds('[ -z "$(ls /run/guardian/holds)" ]')
    finally:
        site.machine.succeed("rm -f /etc/guardian/guardian.toml; systemctl restart guardian-worker")
    assert site.outcome("db") == "resumed"
    assert site.seen_in("db") == before
    assert site.outcome("app") == "resumed", site.reason("app")
    assert site.seen_in("app") == app


def test_the_worker_dies_during_the_restore(site: Site) -> None:
    """What was not restored waits; the next restore takes it up."""
    before = {name: site.redis(name, value=name) for name in ("one", "two")}
    site.machine.succeed("guardianctl checkpoint && systemd-run --unit=asked guardianctl restore")
    site.machine.wait_until_succeeds("ls /run/guardian/tickets /run/guardian/holders | grep -q '[0-9a-f]'")
    _disturb_by_worker(site)
    site.machine.succeed("systemctl start guardian-restore.service", timeout=200)
    for name, redis in before.items():
        site.machine.wait_until_succeeds(f"docker exec {name} redis-cli ping")
        assert site.outcome(name) == "resumed", site.reason(name)
        assert site.seen_in(name) == redis
    assert site.machine.succeed("ls /run/guardian/holds").strip() == ""


_KILLED = """#!/bin/sh
if [ -e /run/kills ] && [ "$1" = swrk ]; then
    left=$(($(cat /run/kills) - 1)); echo try >>/run/tries
    if [ $left -ge 0 ]; then echo $left >/run/kills; kill -KILL $$; fi
fi
exec %s.before "$@"
"""


@pytest.mark.parametrize("kills", [1, 9])
def test_a_restore_that_fails_is_tried_once_more(site: Site, kills: int) -> None:
    """CRIU is killed once: it resumes and says so; killed again and again: cold, after two attempts, image kept."""
    before = site.redis("db")
    site.machine.succeed("guardianctl checkpoint db")
    criu = site.machine.succeed("readlink -f $(which criu)").strip()
    site.machine.write("/root/criu", _KILLED % criu)
    site.machine.succeed(
        f"echo {kills} >/run/kills; rm -f /run/tries; mv {criu} {criu}.before; install -m 755 /root/criu {criu}"
    )
    try:
        site.machine.execute("guardianctl restore db")
    finally:
        site.machine.succeed(f"mv -f {criu}.before {criu}; rm -f /run/kills")
    # runc starts CRIU twice for a restore, to be told its version first.
    assert len(site.machine.succeed("cat /run/tries").split()) == (3 if kills == 1 else 2)
    if kills == 1:
        assert site.outcome("db") == "resumed"
        assert site.reason("db").startswith("at the second attempt; the first: ")
        assert site.seen_in("db") == before
    else:
        assert site.outcome("db") == "cold"
        assert "orphaned" in site.machine.succeed("guardianctl checkpoints db")
    assert site.machine.succeed("ls /run/guardian/holds /run/guardian/tickets").split() == [
        "/run/guardian/holds:",
        "/run/guardian/tickets:",
    ]


def test_a_ticket_that_a_killed_worker_leaves_is_taken_back(site: Site) -> None:
    """dockerd had not come to take it: a start of that moment would have waited for a gate that nobody opens."""
    before = site.redis("db", "--restart no")
    site.machine.succeed("guardianctl checkpoint db")
    folder = site.machine.succeed("dirname /var/lib/guardian/store/*/*/format").strip()
    ticket = f"/run/guardian/tickets/{site.inspect('db', '{{.Id}}')}"
    site.machine.succeed(f"echo checkpoint={folder} >{ticket}")
    _disturb_by_worker(site)
    site.machine.wait_until_succeeds(f"! test -e {ticket} && guardianctl list")
    assert "start held" in site.machine.fail("docker start db 2>&1")
    site.machine.succeed("guardianctl restore db")
    assert (site.outcome("db"), site.seen_in("db")) == ("resumed", before)
