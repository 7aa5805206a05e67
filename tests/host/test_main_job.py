"""The promise: labelled containers go on where they were, whatever way dockerd goes down."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.host.site import Site

WAYS: dict[str, Callable[[Site], None]] = {
    "reboot": Site.reboot,
    "restart": Site.restart_docker,
    "kill": Site.kill_docker,
    "poweroff": Site.poweroff,
    "stop": Site.stop_docker,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_redis_goes_on_and_an_unguarded_one_does_not(site: Site, way: str) -> None:
    before = site.redis("guarded", "--restart always")
    control = site.redis("control", "--restart always", guarded=False)

    WAYS[way](site)

    assert site.seen_in("guarded") == before
    assert site.outcome("guarded") == "resumed"
    assert site.seen_in("control") != control
    assert site.inspect("guarded", "{{.HostConfig.RestartPolicy.Name}}") == "always"
    assert "control" not in site.list()


def test_three_generations(site: Site) -> None:
    before = site.redis("guarded")
    for way in (Site.reboot, Site.restart_docker, Site.kill_docker):
        way(site)
        assert site.outcome("guarded") == "resumed"
        assert site.seen_in("guarded") == before


def test_containerd_keeps_no_task_of_what_died_frozen(site: Site) -> None:
    """As in a checkpoint before the worker has thawed it: runc deletes nothing frozen, the front lets it.

    Else containerd keeps the dead task, and the next start has to clear it away.
    """
    machine = site.machine
    begun = machine.succeed("date '+%F %T'").strip()
    container_id = site.run("fresh", "sleep infinity")
    cgroup = f"/sys/fs/cgroup/system.slice/docker-{container_id}.scope"
    machine.succeed(
        f"echo 1 >{cgroup}/cgroup.freeze; echo checkpoint=/none >/run/guardian/frozen/{container_id}"
    )
    machine.succeed(f"echo 1 >{cgroup}/cgroup.kill")
    try:
        site.wait_for(lambda: machine.succeed("docker ps -q") == "")
        site.wait_for(lambda: container_id not in machine.succeed("ctr -n moby tasks ls -q"), timeout=10)
        told = machine.succeed(f"journalctl --no-pager --since '{begun}' -u docker.service")
        assert "cannot delete running task" not in told
    finally:
        machine.succeed(f"rm /run/guardian/frozen/{container_id}; echo 0 >{cgroup}/cgroup.freeze || true")
