"""The package: installing, upgrading and removing harm no container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.site import Site
from tests.machines import ContainerHost

SLEEP = "sleep infinity"


@pytest.fixture
def plain_host(package: Path) -> Iterator[Site]:
    """A host without guardian, and the package in /root."""
    with ContainerHost() as host:
        host.copy_to(package, "/root/guardian.deb")
        yield Site(host)


def _pid(site: Site, name: str) -> str:
    return site.inspect(name, "{{.State.Pid}} {{.State.StartedAt}}")


def test_the_life_of_a_package(plain_host: Site) -> None:
    site, machine = plain_host, plain_host.machine
    machine.wait_for_docker()
    before = site.redis("older", "--restart always")
    pid = _pid(site, "older")

    machine.succeed("apt-get install --yes --no-install-recommends /root/guardian.deb", timeout=120)
    machine.wait_until_succeeds("guardianctl status")
    assert _pid(site, "older") == pid
    assert site.list()["older"]["savable"] is True

    site.restart_docker()
    assert site.outcome("older") == "resumed", "made long before guardian was installed"
    assert site.seen_in("older") == before

    pid = _pid(site, "older")
    machine.succeed(
        "cd /root && dpkg-deb -R guardian.deb new && sed -i 's/^Version:.*/Version: 0.1.1/' new/DEBIAN/control"
        " && dpkg-deb -b new newer.deb && apt-get install --yes /root/newer.deb",
        timeout=120,
    )
    machine.wait_until_succeeds("guardianctl status")
    assert _pid(site, "older") == pid, "an upgrade checkpoints nothing"
    site.restart_docker()
    assert site.seen_in("older") == before, "restored by the newer one, its holder is of the older"

    pid = _pid(site, "older")
    site.run("held", SLEEP)
    machine.succeed("guardianctl checkpoint held")
    machine.succeed("apt-get remove --yes docker-guardian", timeout=120)
    assert _pid(site, "older") == pid, "removing ends nothing"
    machine.wait_until_succeeds("docker exec held true")
    machine.succeed("docker run --rm work:1 true && docker restart -t 1 older && docker rm -f older held")
    machine.fail("ls -d /usr/lib/docker-guardian")
    machine.succeed("apt-get purge --yes docker-guardian; ! test -e /var/lib/guardian", timeout=120)
    machine.succeed("systemctl restart containerd docker && docker run --rm work:1 true", timeout=120)


def test_installing_beside_the_other_guardian(plain_host: Site) -> None:
    """python3-django-guardian ships a top-level module `guardian`; ours is private (trap 48)."""
    machine = plain_host.machine
    machine.succeed("apt-get install --yes --no-install-recommends /root/guardian.deb", timeout=120)
    machine.fail("cd / && python3 -c 'import guardian'")
    assert machine.succeed("dpkg -L docker-guardian | grep dist-packages || true") == ""
