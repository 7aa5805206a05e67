"""What docker and its users see and want: restart policies, held containers, stopped and paused ones, prune."""

from __future__ import annotations

import pytest

from tests.faults.gate import Gate, mark_is_there
from tests.host.site import Site
from tests.migrate.faults import store

SLEEP = "sleep infinity"


def _policies(site: Site, names: list[str]) -> dict[str, str]:
    return {name: site.inspect(name, "{{json .HostConfig.RestartPolicy}}") for name in names}


@pytest.mark.parametrize("way", ["reboot", "restart"])
def test_every_restart_policy_is_as_before(site: Site, way: str) -> None:
    policies = {"no": "no", "always": "always", "failure": "on-failure:5", "unless": "unless-stopped"}
    for name, policy in policies.items():
        site.run(name, SLEEP, f"--restart {policy}")
    before = _policies(site, list(policies))
    site.machine.succeed("docker stop unless", timeout=60)
    site.reboot() if way == "reboot" else site.restart_docker()
    assert _policies(site, list(policies)) == before
    assert {site.outcome(name) for name in ("no", "always", "failure")} == {"resumed"}
    assert site.inspect("unless", "{{.State.Running}}") == "false", "the user had stopped it"


def test_what_docker_says_of_a_held_container(site: Site) -> None:
    before = site.redis("held", "--restart always")
    site.machine.succeed("guardianctl checkpoint held")
    site.wait_for(lambda: "guardian: checkpoint pending" in site.inspect("held", "{{.State.Error}}"))
    assert site.inspect("held", "{{.HostConfig.RestartPolicy.Name}}") == "always"
    assert "guardianctl release" in site.machine.fail("docker start held 2>&1")
    site.machine.succeed("docker stop held")
    site.machine.succeed("docker update --restart=always held")
    assert site.list()["held"]["state"] == "held"
    site.machine.succeed("guardianctl restore held")
    assert site.seen_in("held") == before


def test_compose_up_while_held(site: Site) -> None:
    site.machine.write(
        "/root/one/compose.yaml",
        'services:\n  db:\n    image: work:1\n    command: sleep infinity\n    labels: {guardian.enable: "true"}\n',
    )
    site.machine.succeed("cd /root/one && docker compose up -d", timeout=120)
    site.machine.succeed("guardianctl checkpoint")
    assert "checkpoint pending" in site.machine.fail(
        "cd /root/one && docker compose up -d 2>&1 || (docker inspect one-db-1; false)"
    )
    site.machine.succeed("guardianctl restore")
    assert site.outcome("one-db-1") == "resumed"


def test_network_prune_while_held(site: Site) -> None:
    site.machine.succeed("docker network create lonely")
    site.run("networked", SLEEP, "--network lonely")
    site.machine.succeed("guardianctl checkpoint")
    site.wait_for(lambda: site.inspect("networked", "{{.State.Running}}") == "false")
    site.machine.succeed("docker network prune -f")
    site.machine.fail("docker network inspect lonely")
    site.machine.execute("guardianctl restore")
    # dockerd starts nothing without its network, cold neither.
    assert site.outcome("networked") == "failed"
    assert "its network lonely is gone" in site.reason("networked")
    assert site.machine.succeed("ls /run/guardian/holds").strip() == ""
    assert site.machine.succeed("ls /var/lib/guardian/store/*/*/img/inventory.img"), "the image is kept"


def test_a_network_that_is_gone_is_made_anew_when_told_to(site: Site) -> None:
    """With its subnet, labels, aliases and addresses, for two containers, of which the second finds it made."""
    site.set_up_guardian("[restore]\nrecreate-networks = true\n")
    site.machine.succeed(
        "docker network create --subnet 10.77.0.0/24 --gateway 10.77.0.9 --label a=b"
        " -o com.docker.network.driver.mtu=1400 lonely"
    )
    before = site.redis("first", "--network lonely --ip 10.77.0.55 --network-alias main")
    site.run("second", SLEEP, "--network lonely")
    address = site.inspect("second", "{{.NetworkSettings.Networks.lonely.IPAddress}}")
    shown = "docker network inspect -f '{{json .IPAM.Config}} {{json .Labels}} {{json .Options}}' lonely"
    made_with = site.machine.succeed(shown)
    site.machine.succeed("guardianctl checkpoint")
    site.wait_for(lambda: site.inspect("second", "{{.State.Running}}") == "false")
    site.wait_for(lambda: site.inspect("first", "{{.State.Running}}") == "false")
    site.machine.succeed("docker network rm lonely && guardianctl restore")
    assert site.machine.succeed(shown) == made_with
    assert site.seen_in("first") == before
    assert (site.outcome("first"), site.reason("first")) == ("resumed", "")
    assert (site.outcome("second"), site.reason("second")) == ("resumed", "")
    assert site.inspect("first", "{{.NetworkSettings.Networks.lonely.IPAddress}}") == "10.77.0.55"
    assert site.inspect("second", "{{.NetworkSettings.Networks.lonely.IPAddress}}") == address
    assert site.machine.succeed("docker exec second getent hosts main").split()[0] == "10.77.0.55"


def test_container_prune_while_held(site: Site) -> None:
    site.run("pruned", SLEEP)
    site.machine.succeed("guardianctl checkpoint")
    site.wait_for(lambda: site.inspect("pruned", "{{.State.Running}}") == "false")
    site.machine.succeed("docker container prune -f")
    _, told = site.machine.execute("guardianctl restore --json 2>/dev/null")
    assert "the container was removed" in told
    assert site.machine.succeed("ls /run/guardian/holds").strip() == ""
    assert site.machine.succeed("ls /var/lib/guardian/store/*/*/img/inventory.img"), "the image is kept"


def test_recreated_while_its_checkpoint_lies_on_disk(site: Site) -> None:
    site.run("again", SLEEP)
    site.machine.succeed("guardianctl checkpoint again")
    site.machine.succeed("docker rm -f again")
    new = site.run("again", SLEEP)
    site.restart_docker()
    assert site.list()["again"]["id"] == new
    assert site.outcome("again") == "resumed"


def test_paused_comes_back_paused(site: Site) -> None:
    site.run("paused", SLEEP)
    site.machine.succeed("docker pause paused")
    site.restart_docker()
    assert site.outcome("paused") == "resumed"
    assert site.inspect("paused", "{{.State.Paused}}") == "true"
    site.machine.succeed("docker unpause paused && docker exec paused true")


def test_unlabelled_containers_are_untouched(site: Site) -> None:
    site.run("plain", SLEEP, guarded=False)
    pid = site.inspect("plain", "{{.State.Pid}}")
    site.run("guarded", SLEEP)
    site.machine.succeed("guardianctl checkpoint && guardianctl restore")
    assert site.inspect("plain", "{{.State.Pid}} {{.State.Status}}") == f"{pid} running"


def test_release(site: Site) -> None:
    before = site.redis("rr")
    site.machine.succeed("guardianctl checkpoint rr")
    assert "cold" in site.machine.succeed("guardianctl release --cold rr || [ $? = 1 ]")
    site.machine.wait_until_succeeds("docker exec rr redis-cli ping")
    assert site.seen_in("rr").run_id != before.run_id
    assert site.outcome("rr") == "cold"
    site.machine.succeed("guardianctl checkpoint rr")
    site.machine.succeed("guardianctl release --discard rr")
    assert site.inspect("rr", "{{.State.Running}}") == "false"
    site.machine.succeed("docker start rr")
    assert "not held" in site.machine.fail("guardianctl release rr 2>&1")


def test_exit_code_and_stop_after_a_restore(site: Site) -> None:
    site.run("leaves", "sh -c 'trap \"exit 7\" TERM; while :; do sleep .1; done'")
    site.machine.succeed("guardianctl checkpoint && guardianctl restore")
    site.machine.succeed("docker stop leaves", timeout=60)
    assert site.inspect("leaves", "{{.State.ExitCode}}") == "7"
    site.run("killed", SLEEP)
    site.machine.succeed("guardianctl checkpoint killed && guardianctl restore killed")
    site.machine.succeed("docker kill killed")
    site.wait_for(lambda: site.inspect("killed", "{{.State.ExitCode}}") == "137")


def test_sigkill_of_the_holder_ends_the_container(site: Site) -> None:
    site.run("orphan", SLEEP)
    site.machine.succeed("guardianctl checkpoint && guardianctl restore")
    pid = site.inspect("orphan", "{{.State.Pid}}")
    assert site.machine.succeed(f"cat /proc/{pid}/comm").strip() == "guardian-holder"
    site.machine.succeed(f"kill -KILL {pid}")
    site.wait_for(lambda: site.inspect("orphan", "{{.State.Running}}") == "false")
    site.machine.fail("runc --root /run/docker/runtime-runc/moby list | grep running")


@pytest.mark.parametrize("step", ["frozen", "locked"])
def test_a_container_that_exits_during_the_freeze(site: Site, step: str) -> None:
    """What stands still can still be killed, by the kernel for want of memory, say: that is the reason then."""
    brief = site.run("brief", SLEEP)
    before = site.redis("stays")
    pid = site.inspect("brief", "{{.State.Pid}}")
    reached = mark_is_there(step)
    gate = Gate(store(site), lambda what, ledger: brief in ledger.parts and reached(what, ledger), 0)
    try:
        site.machine.succeed("systemd-run --unit=asked --property=RemainAfterExit=yes guardianctl checkpoint")
        assert gate.reached(limit=60)
        site.machine.succeed(f"kill -KILL {pid}")
        site.wait_for(lambda: site.inspect("brief", "{{.State.Running}}") == "false")
    finally:
        gate.open()
    site.machine.wait_until_succeeds("systemctl show -P SubState asked | grep -qxE 'exited|failed'")
    assert (site.outcome("brief"), site.reason("brief")) == ("failed", "its init ended during the freeze")
    site.machine.succeed("guardianctl restore")
    assert (site.outcome("stays"), site.reason("stays")) == ("resumed", "")
    assert site.seen_in("stays") == before


def test_containers_guarded_by_name_in_the_configuration(site: Site) -> None:
    site.machine.write("/etc/guardian/guardian.toml", '[labels]\nguard = ["web-*"]\n')
    try:
        site.machine.succeed("systemctl restart guardian-worker.service")
        site.machine.wait_until_succeeds("guardianctl list")
        before = site.redis("web-1", guarded=False)
        site.run("web-2", "sleep infinity", "--label guardian.enable=false", guarded=False)
        site.run("other", "sleep infinity", guarded=False)
        assert set(site.list()) == {"web-1"}
        site.restart_docker()
        assert site.outcome("web-1") == "resumed"
        assert site.seen_in("web-1") == before
    finally:
        site.machine.succeed("rm /etc/guardian/guardian.toml; systemctl restart guardian-worker.service")
        site.machine.wait_until_succeeds("guardianctl list")
