"""Never twice from one image: whoever is killed, and whenever, the old memory never comes back over newer volumes.

Two wrappers on the host make the moments long enough to hit: `sync` blocks while a dump waits for it (the commit
script waits then), and the commit script blocks after the commit and before CRIU kills.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host.site import Site

_SLOW_SYNC = """#!/bin/sh
for socket in /run/guardian/dumps/*.sock; do
    if [ -e "$socket" ] && [ -e /run/block ]; then touch /run/reached; while [ -e /run/block ]; do sleep .05; done; fi
done
exec /usr/bin/sync.real "$@"
"""
_SLOW_COMMIT = """#!/bin/sh
/usr/libexec/docker-guardian/commit.real
status=$?
if [ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] && [ -e /run/block ]; then
    touch /run/reached
    while [ -e /run/block ]; do sleep .05; done
fi
exit $status
"""
_SLOW_RESTORE = """#!/bin/sh
if [ "$CRTOOLS_SCRIPT_ACTION" = post-restore ] && [ -e /run/block ]; then
    touch /run/reached
    while [ -e /run/block ]; do sleep .05; done
fi
exec /usr/libexec/docker-guardian/commit.real
"""
# The brackets keep pgrep from finding the shell that runs it.
_WHO = {
    "worker": "kill -KILL $(systemctl show -P MainPID guardian-worker)",
    "criu": "kill -KILL $(pgrep -x 'criu(.real)?')",
    "runc": "kill -KILL $(pgrep -f '^[^ ]*[r]unc --root [^ ]* checkpoint')",
    "script": "kill -KILL $(pgrep -f '[d]ocker-guardian/commit')",
}


@pytest.fixture
def hurt(site: Site) -> Iterator[Site]:
    """The host, with the wrappers taken away again."""
    yield site
    site.machine.succeed(
        "rm -f /run/block /run/reached; cd /usr/bin; [ ! -e sync.real ] || mv -f sync.real sync;"
        "cd /usr/libexec/docker-guardian; [ ! -e commit.real ] || mv -f commit.real commit; systemctl reset-failed"
    )


def _value_on_disk(site: Site) -> str:
    return site.machine.succeed("cat /var/lib/docker/volumes/data/_data/n || true").strip()


def _token(site: Site) -> str:
    """What only the process that has counted last knows."""
    return site.machine.succeed("cat /var/lib/docker/volumes/data/_data/token")


def _start(site: Site) -> str:
    """A counter that keeps its state in memory and a copy of it on a volume; returns its token."""
    site.counter("counter", "--restart always")
    site.wait_for(lambda: int(_value_on_disk(site) or 0) > 20)
    return _token(site)


def _goes_on(site: Site) -> int:
    """Wait until a counter counts again; returns how far it is."""
    first = _value_on_disk(site)
    site.wait_for(lambda: _value_on_disk(site) not in ("", first))
    return int(_value_on_disk(site))


def _checkpoint_until_reached(site: Site) -> None:
    site.machine.succeed(
        "touch /run/block; rm -f /run/reached; systemd-run --unit=asked guardianctl checkpoint counter"
    )
    site.machine.wait_until_succeeds("test -e /run/reached")


def _settled(site: Site) -> None:
    """The worker is up and nothing of a dump is left."""
    site.machine.wait_until_succeeds(
        "systemctl is-active guardian-worker && ! pgrep -f '[r]unc --root [^ ]* checkpoint'"
    )
    site.machine.wait_until_succeeds("guardianctl list")
    site.machine.wait_until_succeeds('[ -z "$(ls /run/guardian/frozen)" ]')


def _crash(site: Site) -> None:
    site.machine.succeed("sync")
    site.machine.crash()
    site.machine.start()
    site.wait_restored()


@pytest.mark.parametrize("who", _WHO)
def test_killed_while_the_script_waits(hurt: Site, who: str) -> None:
    hurt.machine.write("/root/sync", _SLOW_SYNC)
    hurt.machine.succeed("mv /usr/bin/sync /usr/bin/sync.real; install -m 755 /root/sync /usr/bin/sync")
    token = _start(hurt)
    pid = hurt.inspect("counter", "{{.State.Pid}}")
    _checkpoint_until_reached(hurt)
    frozen_at = int(_value_on_disk(hurt))

    hurt.machine.succeed(_WHO[who])
    hurt.machine.succeed("rm /run/block")
    _settled(hurt)

    if hurt.list()["counter"]["state"] == "held":
        # runc alone was killed: CRIU and the script went on to the end.
        assert who == "runc"
        # It is held before dockerd has noticed its end, and so long the job works on it.
        hurt.machine.wait_until_succeeds("! systemctl is-active asked.service")
        hurt.machine.succeed("guardianctl restore counter")
        assert hurt.outcome("counter") == "resumed"
        assert _goes_on(hurt) > frozen_at
        assert _token(hurt) == token
        return
    assert hurt.inspect("counter", "{{.State.Pid}}") == pid
    assert hurt.inspect("counter", "{{.RestartCount}}") == "0"
    reached = _goes_on(hurt)
    assert reached > frozen_at
    assert _token(hurt) == token

    _crash(hurt)
    assert hurt.inspect("counter", "{{.State.Running}}") == "true"
    assert hurt.machine.succeed("ls /run/guardian/holders") == "", "restored from an image that had run"


@pytest.mark.parametrize("who", _WHO)
def test_killed_between_commit_and_kill(hurt: Site, who: str) -> None:
    hurt.machine.write("/root/commit", _SLOW_COMMIT)
    hurt.machine.succeed(
        "cd /usr/libexec/docker-guardian && mv commit commit.real && install -m 755 /root/commit commit"
    )
    token = _start(hurt)
    _checkpoint_until_reached(hurt)
    frozen_at = int(_value_on_disk(hurt))

    hurt.machine.succeed(_WHO[who])
    hurt.machine.succeed("rm /run/block")
    _settled(hurt)
    hurt.wait_for(lambda: hurt.inspect("counter", "{{.State.Running}}") == "false")
    assert hurt.list()["counter"]["state"] == "held"
    assert int(_value_on_disk(hurt)) == frozen_at

    _crash(hurt)
    assert hurt.outcome("counter") == "resumed"
    assert _goes_on(hurt) > frozen_at
    assert _token(hurt) == token


_OVER_A_RESTORE = {**_WHO, "runc": "kill -KILL $(pgrep -f '^[^ ]*[r]unc --root .* restore --detach')"}


@pytest.mark.parametrize("who", _OVER_A_RESTORE)
def test_killed_while_it_is_restored(hurt: Site, who: str) -> None:
    """The image is good and is tried again; the container's root, which runc mounts in its own folder, is whole."""
    hurt.machine.write("/root/commit", _SLOW_RESTORE)
    hurt.machine.succeed(
        "cd /usr/libexec/docker-guardian && mv commit commit.real && install -m 755 /root/commit commit"
    )
    token = _start(hurt)
    hurt.machine.succeed("guardianctl checkpoint counter")
    frozen_at = int(_value_on_disk(hurt))
    hurt.machine.succeed(
        "touch /run/block; rm -f /run/reached; systemd-run --unit=asked guardianctl restore counter"
    )
    hurt.machine.wait_until_succeeds("test -e /run/reached")

    hurt.machine.succeed(_OVER_A_RESTORE[who])
    hurt.machine.succeed("rm /run/block")
    _settled(hurt)
    hurt.wait_for(lambda: hurt.outcome("counter") == "resumed")
    assert _goes_on(hurt) > frozen_at
    assert _token(hurt) == token
    assert "D /" not in hurt.machine.succeed("docker diff counter")
    assert hurt.machine.succeed("grep -cE 'criu-root|criu.cg' /proc/self/mountinfo || true").strip() == "0"


def test_a_snapshot_is_never_restored_by_itself(hurt: Site) -> None:
    _start(hurt)
    hurt.machine.succeed("guardianctl checkpoint --leave-running counter")
    _goes_on(hurt)
    _crash(hurt)
    assert hurt.machine.succeed("ls /run/guardian/holders") == ""


def test_a_cold_start_without_guardian_spends_the_image(hurt: Site) -> None:
    _start(hurt)
    hurt.machine.succeed("guardianctl checkpoint counter")
    hurt.machine.succeed("rm /usr/libexec/docker-guardian/path/runc; docker start counter")
    _goes_on(hurt)
    hurt.machine.succeed("cp /usr/libexec/docker-guardian/front /usr/libexec/docker-guardian/path/runc")
    _crash(hurt)
    assert hurt.machine.succeed("ls /run/guardian/holders") == ""
    assert hurt.outcome("counter") == "cold"
