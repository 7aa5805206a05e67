"""What settings of guardian.toml do, and the label guardian.priority: each where its limit is reached.

Those without a test here have one where what they are about is tested: `[store]` and hang-ups of one container in
test_failures and test_races, `[hooks]` in test_hooks, `[retention]` in test_checkpoints, `encrypt` in test_secrecy.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator

import pytest

from tests.host.outside import client
from tests.host.site import Redis, Site

STORE = "/var/lib/guardian/store"
_COMMIT = "/usr/libexec/docker-guardian/commit"
_FENCE_TIME = 4.0
_MAX_AGE = 30.0
_SETTINGS = f"""\
[checkpoint]
sync-timeout = "2s"
[restore]
hold-expiry = "60s"
max-age = "{_MAX_AGE:.0f}s"
verify = false
[connections]
fence-time = "{_FENCE_TIME:.0f}s"
"""
_SLOW_SYNC = """#!/bin/sh
for socket in /run/guardian/dumps/*.sock; do
    while [ -e "$socket" ] && [ -e /run/block ]; do /usr/bin/sleep .05; done
done
exec /usr/bin/sync.real "$@"
"""
_HANGS = """#!/bin/sh
case $CRTOOLS_SCRIPT_ACTION,$GUARDIAN_CHECKPOINT in
%s,*/%s/*) while [ -e /run/block ]; do sleep .05; done ;;
esac
exec %s.real
"""


@dataclasses.dataclass(frozen=True)
class Held:
    """A host with those settings, where nobody restores what a restart of docker has saved."""

    site: Site
    before: dict[str, Redis]
    since: float


@pytest.fixture(scope="module")
def held(shared_site: Site) -> Held:
    """Shared: while the hold of `left` expires the other settings have their turn."""
    site = shared_site
    site.clean()
    site.set_up_guardian(_SETTINGS)
    before = {name: site.redis(name, "--restart always", value=name) for name in ("left", "aged", "changed")}
    site.machine.succeed("systemctl mask --runtime guardian-restore.service")
    since = time.monotonic()
    site.machine.succeed(
        "systemctl reset-failed docker.service; systemctl restart docker.service", timeout=120
    )
    site.machine.succeed("systemctl unmask --runtime guardian-restore.service")
    assert {site.list()[name]["state"] for name in before} == {"held"}
    return Held(site, before, since)


def test_images_are_not_compared_where_verify_is_false(held: Held) -> None:
    """One has grown, by what CRIU does not read: with `verify` it would start cold."""
    site = held.site
    site.machine.wait_until_succeeds("guardianctl checkpoints changed --json | grep -q '\"hashed\": true'")
    folder = f"{STORE}/{site.inspect('changed', '{{.Id}}')}"
    site.machine.succeed(f"for image in {folder}/*/img/pages-1.img; do echo more >>$image; done")
    site.machine.fail("guardianctl verify changed@1")
    site.machine.succeed("guardianctl restore changed")
    assert (site.outcome("changed"), site.seen_in("changed")) == ("resumed", held.before["changed"])


def test_a_sync_that_takes_longer_than_sync_timeout(held: Held) -> None:
    """Its container goes on, soon."""
    site = held.site
    before = site.redis("slow", "-v slow:/data")
    site.machine.write("/root/sync", _SLOW_SYNC)
    site.machine.succeed("mv /usr/bin/sync /usr/bin/sync.real; install -m 755 /root/sync /usr/bin/sync")
    begun = time.monotonic()
    try:
        told = site.machine.fail("touch /run/block; guardianctl checkpoint slow 2>&1", timeout=60)
    finally:
        site.machine.succeed("rm /run/block; mv -f /usr/bin/sync.real /usr/bin/sync")
    assert "sync took longer than 2 s" in told
    assert time.monotonic() - begun < 2 + 15
    assert site.seen_in("slow") == before


def test_peers_hear_of_it_once_fence_time_is_over(held: Held) -> None:
    """Until then they hear nothing."""
    site = held.site
    site.program("served", "server 80", "-p 8080:80")
    with client(site, 8080) as peer:
        begun = time.monotonic()
        site.machine.succeed("guardianctl checkpoint served")
        site.wait_for(lambda: peer.seen()["resets"] > 0, timeout=30)
        took = time.monotonic() - begun
    assert took > _FENCE_TIME - 1, "it is written in whole seconds"
    site.machine.succeed("guardianctl restore served")
    assert site.outcome("served") == "resumed"


def test_a_checkpoint_that_is_older_than_max_age(held: Held) -> None:
    site = held.site
    site.wait_for(lambda: time.monotonic() > held.since + _MAX_AGE + 1)
    site.machine.execute("guardianctl restore aged")
    assert site.outcome("aged") == "cold"
    said = re.search(r"its checkpoint is (\d+) s old, more than restore.max-age", site.reason("aged"))
    assert said is not None
    assert int(said[1]) >= _MAX_AGE
    assert site.seen_in("aged").run_id != held.before["aged"].run_id
    folder = f"{STORE}/{site.inspect('aged', '{{.Id}}')}"
    assert site.machine.succeed(f"ls {folder}/*/ledger/orphaned {folder}/*/img/pages-1.img"), "it is kept"


def test_a_hold_that_nothing_ends_expires(held: Held) -> None:
    """It starts cold and says so, and its image is kept."""
    site = held.site
    if time.monotonic() < held.since + 60:
        assert site.list()["left"]["state"] == "held"
        assert "start held" in site.machine.fail("docker start left 2>&1")
    site.wait_for(lambda: site.outcome("left") == "cold")
    assert time.monotonic() > held.since + 60
    assert site.reason("left") == "its hold expired, nothing had restored it"
    site.machine.wait_until_succeeds("docker exec left redis-cli ping")
    assert site.seen_in("left").run_id != held.before["left"].run_id
    assert site.machine.succeed("ls /run/guardian/holds") == ""
    folder = f"{STORE}/{site.inspect('left', '{{.Id}}')}"
    assert site.machine.succeed(f"ls {folder}/*/ledger/expired {folder}/*/img/pages-1.img")


@pytest.fixture
def hangs(site: Site) -> Iterator[Site]:
    """The host, without the wrapper of the commit script in the end."""
    yield site
    site.machine.succeed(f"rm -f /run/block; [ ! -e {_COMMIT}.real ] || mv -f {_COMMIT}.real {_COMMIT}")


def _have_hang(site: Site, name: str, action: str) -> None:
    """Every dump or restore of a container hangs at this action of CRIU's."""
    site.machine.write("/root/commit", _HANGS % (action, site.inspect(name, "{{.Id}}"), _COMMIT))
    site.machine.succeed(
        f"touch /run/block; mv {_COMMIT} {_COMMIT}.real; install -m 755 /root/commit {_COMMIT}"
    )


def test_priority_where_the_budget_of_a_save_does_not_suffice(hangs: Site) -> None:
    """By itself `last` would be dumped first: it has nothing on the disk. It is stopped as docker would, and said."""
    site = hangs
    site.set_up_guardian('[checkpoint]\nparallel = 1\nbudget = "8s"\n')
    volume, priority = "-v first:/data", "--label guardian.priority"
    before = site.redis("first", f"{priority}=9", volume)
    site.redis("hung", f"{priority}=5", "-v hung:/data")
    site.redis("last")
    _have_hang(site, "hung", "pre-dump")
    begun = time.monotonic()
    site.machine.succeed("systemctl stop docker.service docker.socket", timeout=60)
    assert time.monotonic() - begun < 8 + 15
    site.machine.succeed("rm /run/block; systemctl start docker.service")
    site.wait_restored()
    assert (site.outcome("first"), site.seen_in("first")) == ("resumed", before)
    assert site.outcome("hung") == site.outcome("last") == "cold"
    assert "the dump took longer than" in site.reason("hung")
    assert site.reason("last") == "no time was left in the budget for its dump"


def test_what_is_not_resumed_within_the_budget_of_a_restore(hangs: Site) -> None:
    """One hangs, another waits for it, a third has nothing to do with them."""
    site = hangs
    site.set_up_guardian('[restore]\nbudget = "8s"\n')
    site.redis("hung")
    site.redis("waits", "--label guardian.depends-on=hung")
    before = site.redis("free")
    _have_hang(site, "hung", "post-restore")
    begun = time.monotonic()
    site.restart_docker()
    assert time.monotonic() - begun < 8 + 20
    assert (site.outcome("free"), site.seen_in("free")) == ("resumed", before)
    assert site.outcome("hung") == site.outcome("waits") == "cold"
    assert "budget" in site.reason("hung")
    told = (
        "no time was left in the budget for its restore",
        "the budget was over before its dependencies, hooks and hashes were through",
    )
    assert site.reason("waits").endswith(told)
    assert site.machine.succeed("grep -c criu.cgyard /proc/self/mountinfo || true").strip() == "0"
    site.machine.succeed("docker exec hung redis-cli ping && docker exec waits redis-cli ping")


_SLOW_TO_RUN = """#!/bin/sh
%s.real "$@" || exit
[ $CRTOOLS_SCRIPT_ACTION != post-restore ] || sleep 5
"""


def test_one_that_is_about_to_run_when_its_time_is_over(hangs: Site) -> None:
    """What is spent could not be restored again: it is let come to its end."""
    site = hangs
    site.set_up_guardian('[restore]\ncontainer-timeout = "4s"\n')
    before = site.redis("slow")
    site.machine.write("/root/commit", _SLOW_TO_RUN % _COMMIT)
    site.machine.succeed(f"mv {_COMMIT} {_COMMIT}.real; install -m 755 /root/commit {_COMMIT}")
    site.restart_docker()
    assert (site.outcome("slow"), site.reason("slow"), site.seen_in("slow")) == ("resumed", "", before)
