"""Containers with a terminal: the shell of before, its size, its output without a gap; sessions of `docker exec`."""

from __future__ import annotations

import shlex

import pytest

from tests.host.outside import PROGRAMS
from tests.host.site import Site
from tests.host.test_main_job import WAYS

COUNTING = "i=0; while :; do i=$((i+1)); echo n=$i; sleep 0.01; done"


def typed(site: Site, name: str, *texts: str, rows: int = 33, columns: int = 99, until: str = "") -> str:
    """What a terminal shows when this is typed; waits for `until`, which an overloaded machine takes its time for."""
    site.machine.copy_to(PROGRAMS / "attach.py", "/root/attach.py")
    arguments = shlex.join([name, str(rows), str(columns), str(site.machine.slowness), until, *texts])
    return site.machine.succeed(f"python3 /root/attach.py {arguments}", unit=True)


@pytest.mark.parametrize("way", ["restart", "reboot", "kill"])
def test_a_shell_keeps_its_variables(site: Site, way: str) -> None:
    site.run("shell", "bash --norc -i", "-it --restart always")
    typed(site, "shell", "X=remember$((6*7))\\n")

    WAYS[way](site)

    assert site.outcome("shell") == "resumed"
    shown = typed(site, "shell", "echo $X\\n", "stty size\\n", rows=44, columns=111)
    assert "remember42" in shown
    assert "44 111" in shown
    assert "45 112" in typed(site, "shell", "sleep 600\\n", "\\x03", "stty size\\n", rows=45, columns=112)


def test_two_generations_and_the_exit_status(site: Site) -> None:
    site.run("shell", "bash --norc -i", "-it")
    typed(site, "shell", "X=7\\n")
    for _ in range(2):
        site.restart_docker()
    typed(site, "shell", "echo last words; exit $X\\n")
    site.machine.wait_until_succeeds("[ $(docker inspect -f '{{.State.Status}}' shell) = exited ]")
    assert site.inspect("shell", "{{.State.ExitCode}}") == "7"
    assert "last words" in site.machine.succeed("docker logs shell").splitlines()[-2]


@pytest.mark.parametrize("options", ["-t", "", "-i"])
@pytest.mark.parametrize("way", ["restart", "reboot"])
def test_the_log_has_no_gap(site: Site, way: str, options: str) -> None:
    site.run("counting", f"bash -c '{COUNTING}'", options)
    site.machine.wait_until_succeeds("docker logs counting | grep -q n=50")

    WAYS[way](site)

    last = int(site.machine.succeed("docker logs --tail 1 counting").strip().removeprefix("n="))
    site.machine.wait_until_succeeds(f"docker logs counting | grep -q n={last + 50}")
    numbers = [int(line.removeprefix("n=")) for line in site.machine.succeed("docker logs counting").split()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert site.outcome("counting") == "resumed"


def test_an_open_exec_session_is_ended_and_named(site: Site) -> None:
    before = site.redis("srv")
    site.machine.succeed("docker exec -d srv sleep 1234")
    site.machine.wait_until_succeeds("docker top srv | grep -q 'sleep [1]234'")

    site.restart_docker()

    assert site.seen_in("srv") == before
    assert site.outcome("srv") == "resumed"
    assert site.reason("srv") == "a docker exec session was ended: sleep"


def test_an_open_exec_session_forbids_a_snapshot(site: Site) -> None:
    site.redis("srv")
    site.machine.succeed("docker exec -d srv sleep 1234")
    site.machine.fail("guardianctl checkpoint --leave-running srv")
    site.machine.succeed("docker top srv | grep -q 'sleep [1]234'")
