"""Bad input: each with a clear error, and nothing lost."""

from __future__ import annotations

from tests.host.site import Site

SLEEP = "sleep infinity"


def test_unknown_and_unguarded_containers(site: Site) -> None:
    site.run("plain", SLEEP, guarded=False)
    status, told = site.machine.execute("guardianctl checkpoint nobody 2>&1")
    assert (status, "there is no container 'nobody'" in told) == (4, True)
    status, told = site.machine.execute("guardianctl checkpoint plain 2>&1")
    assert (status, "plain is not guarded" in told) == (4, True)


def test_restores_that_make_no_sense(site: Site) -> None:
    site.run("runs", SLEEP)
    status, told = site.machine.execute("guardianctl restore runs 2>&1")
    assert (status, "runs is running" in told) == (4, True)
    site.machine.succeed("docker kill runs")
    status, told = site.machine.execute("guardianctl restore runs 2>&1")
    assert (status, "no checkpoint" in told) == (4, True)
    status, told = site.machine.execute("guardianctl restore nobody 2>&1")
    assert (status, "there is no container" in told) == (4, True)


def test_labels_that_are_none(site: Site) -> None:
    site.run("maybe", SLEEP, "--label guardian.enable=perhaps", guarded=False)
    assert "maybe" not in site.list()
    site.run("odd", SLEEP, "--label 'guardian.depends-on=a b,,:x'", "--label guardian.group=some")
    problems = " ".join(site.list()["odd"]["problems"])
    assert "guardian.depends-on" in problems
    assert "guardian.group" in problems
    site.machine.succeed("guardianctl checkpoint odd && guardianctl restore odd")


def test_a_configuration_that_does_not_parse(site: Site) -> None:
    before = site.redis("keeps")
    for text, named in (
        ("[store]\npaht = 3\n", "paht"),
        ("[store\n", "guardian.toml"),
        ("[checkpoint]\nbudget = 'x'\n", "budget"),
    ):
        site.machine.write("/etc/guardian/guardian.toml", text)
        site.machine.succeed("systemctl restart guardian-worker")
        told = site.machine.succeed("journalctl -u guardian-worker -n 20 --no-pager")
        assert named in told
        site.machine.succeed("guardianctl checkpoint keeps && guardianctl restore keeps")
    site.machine.succeed("rm /etc/guardian/guardian.toml; systemctl restart guardian-worker")
    assert site.seen_in("keeps") == before


def test_two_checkpoints_at_once(site: Site) -> None:
    before = site.redis("contended")
    told = site.machine.execute(
        "for n in 1 2; do { guardianctl checkpoint contended >/root/told$n 2>&1; echo $? >/root/status$n; } & done;"
        " wait; cat /root/told1 /root/told2"
    )[1]
    statuses = site.machine.succeed("cat /root/status1 /root/status2").split()
    assert sorted(statuses) == ["0", "4"], told
    site.machine.succeed("guardianctl restore contended")
    assert site.seen_in("contended") == before


def test_dockerd_not_there(site: Site) -> None:
    site.run("waits", SLEEP)
    site.machine.succeed("systemctl stop docker.service docker.socket")
    status, told = site.machine.execute("timeout 20 guardianctl checkpoint waits 2>&1")
    assert (status, "dockerd is not running" in told) == (4, True)
    site.machine.succeed("systemctl start docker.socket docker.service")
    site.wait_restored()
    assert site.outcome("waits") == "resumed"


def test_nobody_but_root(site: Site) -> None:
    status, told = site.machine.execute("setpriv --reuid=65534 --clear-groups guardianctl list 2>&1")
    assert status == 1
    assert "only root may" in told
    assert (
        site.machine.succeed(
            "stat -c %a /run/guardian /var/lib/guardian /var/lib/guardian/checkpoints"
        ).split()
        == ["700"] * 3
    )


def test_small_memory(site: Site) -> None:
    """The worker at most 50 MiB PSS idle, a holder at most 1 MiB."""
    site.run("one", SLEEP)
    site.machine.succeed("guardianctl checkpoint && guardianctl restore")
    pss = "awk '/^Pss:/{print $2}' /proc/%s/smaps_rollup"
    worker = int(site.machine.succeed(pss % "$(systemctl show -P MainPID guardian-worker)"))
    pid = site.inspect("one", "{{.State.Pid}}")
    holder = int(site.machine.succeed(pss % pid))
    guard = int(site.machine.succeed(pss % f"$(pgrep -P {pid} -x guardian-guard)"))
    print(f"PSS: worker {worker} KiB, holder {holder} KiB, its guard {guard} KiB")
    assert worker <= 50 * 1024
    assert holder + guard <= 1024
