"""Hooks around a checkpoint and a restore: what they are told, what they may forbid, and that they never hang it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.host.site import Site

HOOKS = "/etc/guardian/hooks"
TOLD = "/run/told"
_HOOK = f"""#!/bin/sh
echo "$1 $GUARDIAN_EVENT $GUARDIAN_CONTAINER $GUARDIAN_OUTCOME" >>{TOLD}
! test -e /run/fail-$1
"""


@pytest.fixture
def hooked(site: Site) -> Iterator[Site]:
    site.machine.succeed(f"mkdir -p {HOOKS}; rm -f {TOLD} /run/fail-*")
    site.machine.write(f"{HOOKS}/tell", _HOOK)
    site.machine.succeed(f"chmod 755 {HOOKS}/tell")
    yield site
    site.machine.succeed(f"rm -rf {HOOKS} {TOLD} /run/fail-*")


def _told(site: Site) -> list[str]:
    return site.machine.succeed(f"cat {TOLD}").splitlines()


def _inside(site: Site, name: str) -> list[str]:
    return site.machine.succeed(f"docker exec {name} cat /tmp/told").splitlines()


_PRE = "-l guardian.pre-checkpoint='echo pre $GUARDIAN_EVENT $(id -u) >>/tmp/told'"
_POST = "-l guardian.post-restore='echo post $GUARDIAN_OUTCOME >>/tmp/told'"


def test_all_are_told_around_a_restart_of_docker(hooked: Site) -> None:
    options = f"--user 1000 -w /tmp --restart always {_PRE} {_POST} -l guardian.hook=tell"
    before = hooked.redis("web", options)
    hooked.restart_docker()
    assert hooked.outcome("web") == "resumed"
    assert hooked.seen_in("web") == before
    assert _inside(hooked, "web") == ["pre pre-checkpoint 1000", "post resumed"]
    assert _told(hooked) == [
        "pre-checkpoint pre-checkpoint web ",
        "post-checkpoint post-checkpoint web saved",
        "pre-restore pre-restore web ",
        "post-restore post-restore web resumed",
    ]


def test_a_snapshot_tells_the_container_that_it_goes_on(hooked: Site) -> None:
    hooked.redis("web", _PRE, _POST)
    hooked.machine.succeed("guardianctl snapshot web")
    assert _inside(hooked, "web") == ["pre pre-checkpoint 0", "post continued"]


@pytest.mark.parametrize("who", ["command", "hook"])
def test_a_failure_before_a_checkpoint_is_a_veto(hooked: Site, who: str) -> None:
    command = "-l guardian.pre-checkpoint='echo not now; exit 3'" if who == "command" else ""
    if who == "hook":
        hooked.machine.succeed("touch /run/fail-pre-checkpoint")
    before = hooked.redis("web", f"--restart always {command} {_POST} -l guardian.hook=tell")
    other = hooked.redis("other", "--restart always")
    reason = "failed with 3: not now" if who == "command" else "failed with 1"

    status, said = hooked.machine.execute("guardianctl checkpoint web 2>&1")
    assert status != 0
    assert reason in said
    assert hooked.seen_in("web") == before, "it goes on"
    assert _inside(hooked, "web") == ["post continued"]

    hooked.restart_docker()
    assert hooked.outcome("web") == "cold"
    assert reason in hooked.reason("web")
    assert hooked.seen_in("other") == other, "nobody else pays for it"


def test_a_failure_only_told_where_the_configuration_says_so(hooked: Site) -> None:
    hooked.set_up_guardian('[hooks]\non-failure = "continue"\n')
    before = hooked.redis("web", "--restart always -l guardian.pre-checkpoint='exit 3'")
    hooked.restart_docker()
    assert hooked.outcome("web") == "resumed"
    assert hooked.seen_in("web") == before


def test_a_veto_of_a_restore_keeps_the_image(hooked: Site) -> None:
    before = hooked.redis("web", "--restart always -l guardian.hook=tell")
    hooked.machine.succeed("touch /run/fail-pre-restore")
    hooked.restart_docker()
    assert hooked.outcome("web") == "cold"
    assert "pre-restore" in hooked.reason("web")
    assert hooked.seen_in("web") != before
    assert "orphaned" in hooked.machine.succeed("guardianctl checkpoints web")
    assert _told(hooked)[-1] == "post-restore post-restore web cold"


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_one_that_hangs_is_ended(hooked: Site, where: str) -> None:
    hooked.set_up_guardian("[hooks]\ntimeout = 1\n")
    options = "--restart always -l guardian.hook=tell"
    if where == "inside":
        options += " -l guardian.pre-checkpoint='sleep 1000 & sleep 1001'"
    else:
        hooked.machine.write(f"{HOOKS}/tell", "#!/bin/sh\nsleep 1002 & sleep 1003\n")
        hooked.machine.succeed(f"chmod 755 {HOOKS}/tell")
    hooked.redis("web", options)
    begun = time.monotonic()
    hooked.restart_docker()
    assert time.monotonic() - begun < 30 * hooked.machine.slowness
    assert hooked.outcome("web") == "cold"
    assert "took longer than 1 s" in hooked.reason("web")
    assert not hooked.machine.execute("pgrep -af '[s]leep 100'")[1]


def test_a_command_that_fails_after_the_restore_is_told(hooked: Site) -> None:
    before = hooked.redis("web", "--restart always -l guardian.post-restore='echo broken; exit 4'")
    hooked.restart_docker()
    assert hooked.outcome("web") == "resumed"
    assert hooked.seen_in("web") == before
    assert "post-restore: its command failed with 4: broken" in hooked.reason("web")
