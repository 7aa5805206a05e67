"""What Docker and its tools say of a restored container is right."""

from __future__ import annotations

import pytest

from tests.host.site import Site

TRAP = "trap 'exit 7' TERM; while :; do sleep 0.05; done"
STATE = "{{.State.Status}} {{.State.OOMKilled}} {{.State.Restarting}} {{.State.Dead}} {{.RestartCount}}"


def restored(site: Site, name: str, command: str, *options: str) -> None:
    """A container that has been through a checkpoint and a restore."""
    site.run(name, command, *options)
    site.restart_docker()
    assert site.outcome(name) == "resumed"


def test_inspect_top_stats_and_namespaces(site: Site) -> None:
    machine = site.machine
    site.run("srv", "sleep 4321", "--hostname inside --restart unless-stopped")
    since = machine.succeed("date +%s").strip()
    machine.succeed("guardianctl checkpoint srv && guardianctl restore srv")
    assert site.inspect("srv", STATE).startswith("running false false false ")
    pid = site.inspect("srv", "{{.State.Pid}}")
    assert machine.succeed(f"cat /proc/{pid}/comm").strip() == "guardian-holder"
    assert "sleep 4321" in machine.succeed("docker top srv")
    namespaces = f"nsenter -t {pid} -m -u -i -n"
    assert machine.succeed(f"{namespaces} hostname") == "inside\n"
    address = site.inspect("srv", "{{.NetworkSettings.IPAddress}}")
    assert address in machine.succeed(f"{namespaces} ip -4 address")
    # Of the cgroup there is nothing to be had on this kind of host: tests/vm looks at that.
    machine.execute(f"timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/1' 2>&1")
    machine.wait_until_succeeds(
        "docker stats --no-stream --format '{{.Name}} {{.NetIO}}' srv | grep -E '^srv [1-9][^ ]* / [1-9]'"
    )
    told = machine.succeed(
        f"docker events --since {since} --until $(date +%s) --filter container=srv --format '{{{{.Action}}}}'"
    ).split()
    assert told.index("die") < len(told) - 1 - told[::-1].index("start")


def test_wait_stop_and_exit_codes(site: Site) -> None:
    machine = site.machine
    restored(site, "seven", f'bash -c "{TRAP}"')
    with machine.running("docker wait seven >/tmp/waited"):
        machine.succeed("docker stop -t 20 seven")
        machine.wait_until_succeeds("grep -qx 7 /tmp/waited")
    assert site.inspect("seven", "{{.State.ExitCode}} {{.State.Status}}") == "7 exited"
    assert site.inspect("seven", "{{gt (len .State.FinishedAt) 20}}") == "true"
    restored(site, "killed", "sleep infinity")
    machine.succeed("docker kill killed")
    assert site.inspect("killed", "{{.State.ExitCode}}") == "137"


def test_on_failure_counts_as_after_any_start_of_docker(site: Site) -> None:
    """From zero, as one that is not guarded: whatever dockerd starts gets all its attempts again."""
    state = "{{.RestartCount}} {{.State.Running}} {{.State.Restarting}}"
    fails = "bash -c 'while ! [ -e /go ]; do sleep 0.05; done; rm -f /go; echo failed >>/failed; exit 1'"
    site.run("fails", fails, "--restart on-failure:3")
    site.run("plain", fails, "--restart on-failure:3", guarded=False)
    for name in ("fails", "plain"):
        site.machine.succeed(f"docker exec {name} touch /go")
        site.wait_for(lambda name=name: site.inspect(name, state) == "1 true false")  # type: ignore[misc]
    site.restart_docker()
    assert site.outcome("fails") == "resumed"
    for name in ("fails", "plain"):
        assert site.inspect(name, state) == "0 true false"
        # A folder stays when the program removes a file of that name: it fails at once, each time.
        site.machine.succeed(f"docker exec {name} sh -c 'mkdir /always && mv /always /go'")
        site.machine.wait_until_succeeds(f"[ $(docker inspect -f '{{{{.State.Status}}}}' {name}) = exited ]")
        assert site.inspect(name, "{{.RestartCount}} {{.State.ExitCode}}") == "3 1"
        site.machine.succeed(f"docker cp {name}:/failed /root/failed")
        assert site.machine.succeed("cat /root/failed").split() == ["failed"] * 5


def test_health_goes_on(site: Site) -> None:
    restored(
        site,
        "well",
        "sleep infinity",
        "--health-cmd 'test ! -e /ill' --health-interval 1s --health-retries 1",
    )
    site.machine.wait_until_succeeds("[ $(docker inspect -f '{{.State.Health.Status}}' well) = healthy ]")
    site.machine.succeed("docker exec well touch /ill")
    site.machine.wait_until_succeeds("[ $(docker inspect -f '{{.State.Health.Status}}' well) = unhealthy ]")


def test_the_death_of_the_holder_ends_the_container(site: Site) -> None:
    restored(site, "srv", "sleep 4321")
    site.machine.succeed(f"kill -KILL {site.inspect('srv', '{{.State.Pid}}')}")
    site.machine.wait_until_succeeds("[ $(docker inspect -f '{{.State.Status}}' srv) = exited ]")
    site.machine.wait_until_fails("pgrep -f 'sleep [4]321'")
    site.machine.succeed("docker start srv && docker exec srv true")


@pytest.mark.parametrize("driver", ["json-file", "local", "journald", "none"])
def test_log_drivers(site: Site, driver: str) -> None:
    counting = "i=0; while :; do i=$((i+1)); echo n=$i; sleep 0.05; done"
    restored(site, "logs", f"bash -c '{counting}'", f"--log-driver {driver}")
    read = {
        "journald": "journalctl -b -o cat CONTAINER_NAME=logs",
        "none": "echo n=1; docker top logs >/dev/null && echo n=2",
    }.get(driver, "docker logs logs")
    more = 2 if driver == "none" else int(site.machine.succeed(read).split()[-1].removeprefix("n=")) + 10
    site.machine.wait_until_succeeds(f"({read}) | grep -qx n={more}")
    numbers = [
        int(line.removeprefix("n=")) for line in site.machine.succeed(read).split() if line.startswith("n=")
    ]
    assert numbers == list(range(1, len(numbers) + 1))
