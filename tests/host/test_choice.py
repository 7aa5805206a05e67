"""What the owner chooses instead of a checkpoint: a graceful stop, nothing at all, one cold boot."""

from __future__ import annotations

import json

from tests.host.site import Site

GRACEFUL = """\
trap 'echo stopped >>/kept/told; exit 0' TERM
echo started >>/kept/told
while :; do sleep 0.1; done
"""


def _told(site: Site) -> list[str]:
    return site.machine.succeed("docker run --rm -v kept:/kept work:1 cat /kept/told").split()


def test_modes(site: Site) -> None:
    """A database is stopped gracefully though what depends on it is saved; another one is left to dockerd."""
    site.machine.write("/root/graceful.sh", GRACEFUL)
    options = "--restart always -v kept:/kept -v /root/graceful.sh:/g.sh:ro -l guardian.mode=stop"
    site.run("database", "sh /g.sh", options)
    before = site.redis("web", "--restart always -l guardian.depends-on=database")
    left = site.redis("left", "--restart always -l guardian.mode=skip")
    listed = site.list()
    assert "is not saved: guardian.mode=stop" in listed["database"]["problems"]
    assert "is not saved: guardian.mode=skip" in listed["left"]["problems"]
    planned = json.loads(site.machine.succeed("guardianctl plan --json"))
    assert planned["save"] == [["web"]]
    assert (planned["total"]["wanted"], planned["total"]["savable"]) == (1, 1)

    site.reboot()

    assert site.seen_in("web") == before
    assert site.outcome("web") == "resumed"
    assert (site.outcome("database"), site.reason("database")) == ("cold", "guardian.mode=stop")
    assert _told(site) == ["started", "stopped", "started"]
    assert (site.outcome("left"), site.reason("left")) == ("cold", "guardian.mode=skip")
    assert site.seen_in("left") != left
    assert site.inspect("database", "{{.HostConfig.RestartPolicy.Name}}") == "always"
    assert not site.machine.succeed("ls /run/guardian/holds").split()


def test_a_person_who_names_it_gets_a_checkpoint(site: Site) -> None:
    before = site.redis("database", "-l guardian.mode=stop")
    assert "nothing to do" in site.machine.succeed("guardianctl checkpoint")
    site.machine.succeed("guardianctl checkpoint database")
    site.machine.succeed("guardianctl restore database")
    assert site.seen_in("database") == before


def test_one_container_starts_cold_at_the_next_boot_and_only_then(site: Site) -> None:
    one = site.redis("one", "--restart always")
    other = site.redis("other", "--restart always")
    assert "start cold: one" in site.machine.succeed("guardianctl next-boot cold one")
    assert "guardianctl next-boot cold asked for it" in " ".join(site.list()["one"]["problems"])
    site.restart_docker()
    assert site.seen_in("one") == one, "docker was started again, the host was not"

    site.reboot()
    assert site.outcome("one") == "cold"
    assert site.reason("one") == "guardianctl next-boot cold asked for it"
    assert site.seen_in("other") == other
    assert "start cold: none" in site.machine.succeed("guardianctl next-boot")

    again = site.seen_in("one")
    assert again != one
    site.reboot()
    assert site.seen_in("one") == again
    assert site.seen_in("other") == other


def test_a_whole_boot_is_cold_and_a_checkpoint_that_waits_as_well(site: Site) -> None:
    site.redis("runs", "--restart always")
    site.redis("waits", "--restart always")
    site.machine.succeed("guardianctl checkpoint waits; guardianctl next-boot cold")
    site.reboot()
    for name in ("runs", "waits"):
        assert site.outcome(name) == "cold"
        assert site.reason(name) == "guardianctl next-boot cold asked for it"
    site.machine.succeed("guardianctl next-boot cold; guardianctl next-boot resume")
    before = site.seen_in("runs")
    site.reboot()
    assert site.seen_in("runs") == before


def test_only_guarded_containers_can_be_named(site: Site) -> None:
    site.redis("stranger", guarded=False)
    for name in ("stranger", "nobody", "../x"):
        status, said = site.machine.execute(f"guardianctl next-boot cold {name} 2>&1")
        assert status == 4
        assert "no guarded container" in said
    assert not site.machine.execute("ls /var/lib/guardian/next-boot")[1].split()
