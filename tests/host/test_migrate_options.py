"""What the options of guardianctl migrate do, and a release by force on either side of a move."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.faults.gate import Gate, mark_is_there
from tests.host.lab import SSH_CONFIGURATION, Lab
from tests.host.test_migrate import migrated, nothing_left, refused
from tests.migrate.faults import store

SUDO = """\
#include <string.h>
#include <unistd.h>
int main(int count, char **words)
{
    if (count < 4 || strcmp(words[1], "-n") || strcmp(words[2], "guardianctl") || strcmp(words[3], "receive"))
        return 99;
    if (setgid(0) || setuid(0))
        return 98;
    execvp(words[2], words + 2);
    return 97;
}
"""
"""Does of sudo(8) what is asked of it here, for everybody: the hosts have none."""
DEPUTY = "Host delegated\n  HostName two\n  User deputy\n"


def test_a_standstill_that_takes_longer_than_its_limit_ends_here(lab: Lab) -> None:
    before = lab.one.redis("web", guarded=False)
    lab.one.machine.succeed("docker exec web redis-cli debug populate 300000 k 200")
    said = lab.one.machine.fail("guardianctl migrate --limit 0.05 web two 2>&1", timeout=240)
    assert "the move was given up" in said
    assert "it would have stood still for more than 0.05 s" in said
    assert "web goes on here" in said
    assert lab.one.seen_in("web") == before
    assert lab.one.inspect("web", "{{.State.Running}}") == "true"
    lab.two.machine.wait_until_succeeds("! pgrep -f '[g]uardianctl receive'")
    nothing_left(lab.two)
    assert migrated(lab.one, "--limit 100 web two")["results"][0]["outcome"] == "resumed"
    assert lab.two.seen_in("web") == before


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "86401"])
def test_a_limit_that_is_none_is_refused_before_anything_travels(lab: Lab, limit: str) -> None:
    before = lab.one.redis("web", "-v data:/data", guarded=False)
    assert "the limit does not parse" in refused(lab.one, f"--limit={limit} web two")
    assert lab.one.seen_in("web") == before
    nothing_left(lab.two)


def test_a_volume_there_is_overwritten_only_where_that_was_asked_for(lab: Lab) -> None:
    lab.two.machine.succeed("docker run --rm -v data:/d work:1 sh -c 'echo theirs | tee /d/f >/d/only-there'")
    before = lab.one.redis("web", "-v data:/data", guarded=False)
    lab.one.machine.succeed("docker exec web sh -c 'echo ours >/data/f'")
    assert "there is a volume data with content" in refused(lab.one, "web two")
    there = "/var/lib/docker/volumes/data/_data"
    assert lab.two.machine.succeed(f"cat {there}/f {there}/only-there") == "theirs\ntheirs\n"
    migrated(lab.one, "--overwrite-volumes web two")
    assert lab.two.seen_in("web") == before
    assert lab.two.machine.succeed("docker exec web ls /data; docker exec web cat /data/f") == "f\nours\n"


def test_another_name_beside_one_that_has_it(lab: Lab) -> None:
    theirs = lab.two.redis("web", value="theirs", guarded=False)
    before = lab.one.redis("web", guarded=False)
    lab.one.run("other", "sleep infinity", guarded=False)
    assert "another name is for one container" in refused(lab.one, "--name moved web other two")
    found = migrated(lab.one, "--name moved web two")
    assert [(item["name"], item["outcome"]) for item in found["results"]] == [("moved", "resumed")]
    assert (lab.two.seen_in("moved"), lab.two.seen_in("web")) == (before, theirs)
    assert lab.one.inspect("web", "{{.State.Running}}") == "false"


def test_guardian_there_by_sudo(lab: Lab, tmp_path: Path) -> None:
    """Somebody who is not root there, and may run guardianctl by sudo alone."""
    (tmp_path / "sudo.c").write_text(SUDO)
    subprocess.run(["gcc", "-static", "-o", tmp_path / "sudo", tmp_path / "sudo.c"], check=True)
    lab.two.machine.copy_to(tmp_path / "sudo", "/usr/local/bin/sudo")
    lab.two.machine.succeed(
        "chmod 4755 /usr/local/bin/sudo; useradd --create-home --shell /bin/sh deputy;"
        " install -d -o deputy ~deputy/.ssh;"
        " install -o deputy -m 600 /root/.ssh/authorized_keys ~deputy/.ssh/authorized_keys"
    )
    lab.one.machine.write("/root/.ssh/config", DEPUTY + SSH_CONFIGURATION.replace("one two", "*"))
    before = lab.one.redis("web", guarded=False)
    try:
        assert lab.one.machine.succeed("ssh delegated id -un").strip() == "deputy"
        said = lab.one.machine.fail("guardianctl migrate web delegated 2>&1")
        assert "web goes on here" in said
        assert lab.one.seen_in("web") == before
        migrated(lab.one, "--sudo web delegated")
        assert lab.two.seen_in("web") == before
    finally:
        lab.one.machine.write("/root/.ssh/config", SSH_CONFIGURATION)
        lab.two.machine.succeed("rm -f /usr/local/bin/sudo; userdel --remove --force deputy 2>&1")


def test_a_release_by_force_where_it_came_from(lab: Lab) -> None:
    """From zero, beside the one that goes on there."""
    before = lab.one.redis("web", guarded=False)
    migrated(lab.one, "web two")
    said = lab.one.machine.fail("guardianctl release web 2>&1")
    assert "web was moved to 'two'" in said
    assert "--force" in said
    assert lab.one.inspect("web", "{{.State.Running}}") == "false"
    lab.one.machine.succeed("guardianctl release --force web")
    lab.one.machine.wait_until_succeeds("docker exec web redis-cli ping")
    assert lab.one.seen_in("web").run_id != before.run_id
    assert lab.two.seen_in("web") == before
    lab.one.machine.succeed("docker restart --time 0 web && docker exec web true")


def test_a_release_by_force_where_its_source_is_gone_for_ever(lab: Lab) -> None:
    before = lab.one.redis("web", guarded=False)
    gate = Gate(store(lab.one), mark_is_there("verdict"), 0)
    try:
        lab.one.machine.succeed("systemd-run --unit=moving guardianctl migrate web two")
        assert gate.reached(limit=120)
        lab.one.machine.succeed("systemctl kill --signal=KILL moving")
        lab.two.machine.wait_until_succeeds("! pgrep -f '[g]uardianctl receive'")
    finally:
        gate.open()
    lab.two.machine.wait_until_succeeds("docker start web 2>&1 | grep undecided")
    assert "migrate --resolve web, or --force" in lab.two.machine.fail("guardianctl release web 2>&1")
    assert lab.two.inspect("web", "{{.State.Running}}") == "false"
    lab.two.machine.succeed("guardianctl release --force web")
    lab.two.machine.wait_until_succeeds("docker exec web redis-cli ping")
    assert lab.two.seen_in("web").run_id != before.run_id
    assert "orphaned" in lab.two.machine.succeed("guardianctl checkpoints")
