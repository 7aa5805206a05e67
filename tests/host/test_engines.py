"""Other ways to run the engine: each works, or is refused beforehand with its reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host.site import Site


@pytest.fixture
def unit_files(site: Site) -> Iterator[Site]:
    """What a test lays over units and daemon.json goes again after it."""
    daemon = site.set_up_daemon({})
    yield site
    site.machine.succeed("docker ps -aq | xargs -r docker rm -f")
    site.machine.write("/etc/docker/daemon.json", daemon)
    site.machine.succeed(
        "rm -rf /etc/systemd/system/docker.service.d /etc/systemd/system/containerd.service.d; systemctl daemon-reload;"
        "systemctl stop docker.service docker.socket; systemctl restart containerd; systemctl start docker.service"
    )
    site.wait_restored()


def override(site: Site, unit: str, text: str) -> None:
    site.machine.write(f"/etc/systemd/system/{unit}.service.d/90-test.conf", f"[Service]\n{text}\n")
    site.machine.succeed(f"systemctl daemon-reload; systemctl reset-failed {unit}; systemctl restart {unit}")


def test_a_containerd_without_the_front_is_noticed(unit_files: Site) -> None:
    override(unit_files, "containerd", "Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    unit_files.wait_restored()
    unit_files.run("srv", "sleep infinity")
    told = unit_files.list()["srv"]
    assert told["savable"] is False
    assert "without guardian's runtime in its path" in told["reasons"][0]
    assert "without guardian's runtime" in unit_files.machine.fail("guardianctl status")


def test_a_containerd_that_dockerd_has_started_itself(unit_files: Site) -> None:
    machine = unit_files.machine
    machine.succeed(
        "docker save -o /root/work.tar work:1;"
        "systemctl stop docker.service docker.socket containerd.service; systemctl mask --runtime containerd"
    )
    try:
        override(unit_files, "docker", "ExecStart=\nExecStart=/usr/sbin/dockerd -H fd://")
        unit_files.wait_restored()
        # Where images are containerd's, this one has none yet.
        machine.succeed(
            "docker image inspect work:1 >/dev/null || docker load -i /root/work.tar; rm /root/work.tar"
        )
        before = unit_files.redis("srv", "--restart always")
        for way in (Site.restart_docker, Site.kill_docker):
            way(unit_files)
            assert unit_files.outcome("srv") == "resumed"
            assert unit_files.seen_in("srv") == before
    finally:
        machine.succeed("systemctl unmask --runtime containerd")


@pytest.mark.parametrize("runtime", ["other", "default"])
def test_other_runtimes_are_refused_beforehand(unit_files: Site, runtime: str) -> None:
    settings = {"runtimes": {"other": {"path": "/usr/sbin/runc"}}}
    unit_files.set_up_daemon(settings | ({"default-runtime": "other"} if runtime == "default" else {}))
    unit_files.restart_docker()
    unit_files.run("srv", "sleep infinity", "--runtime other" if runtime == "other" else "")
    told = unit_files.list()["srv"]
    assert told["savable"] is False
    assert "runs with the runtime 'other'" in told["reasons"][0]


def test_remapped_users(unit_files: Site) -> None:
    machine = unit_files.machine
    machine.succeed("docker save -o /root/work.tar work:1")
    unit_files.set_up_daemon({"userns-remap": "default"})
    machine.succeed(
        "systemctl restart docker.service; docker load -i /root/work.tar; rm /root/work.tar", timeout=180
    )
    unit_files.wait_restored()
    unit_files.run("remapped", "sleep infinity")
    told = unit_files.list()["remapped"]
    assert told["savable"] is False
    assert "userns-remap" in told["reasons"][0]
    before = unit_files.redis("srv", "--userns host --restart always")
    for way in (Site.restart_docker, Site.reboot):
        way(unit_files)
        assert (unit_files.outcome("srv"), unit_files.reason("srv")) == ("resumed", "")
        assert unit_files.seen_in("srv") == before
        assert unit_files.outcome("remapped") == "cold"
