"""A broken guardian never keeps a container from starting: each of its files away, empty or garbage."""

from __future__ import annotations

import pytest

from tests.host.site import Site

FILES = [
    "/usr/libexec/docker-guardian/ask",
    "/usr/libexec/docker-guardian/bundle.py",
    "/usr/libexec/docker-guardian/commit",
    "/usr/libexec/docker-guardian/emergency",
    "/usr/libexec/docker-guardian/hold",
    "/usr/libexec/docker-guardian/holder",
    "/usr/libexec/docker-guardian/start",
    "/usr/libexec/docker-guardian/worker",
    "/usr/lib/docker-guardian/guardian/model/config.py",
    "/usr/bin/python3",
    "/etc/guardian/guardian.toml",
    "/usr/lib/systemd/system/guardian-worker.service",
]
HARMS = {
    "removed": "rm -f {0}",
    "emptied": ": >{0}",
    "corrupted": "head -c 4096 /dev/urandom >{0}",
}


def _survives(site: Site, name: str) -> None:
    site.machine.succeed(
        f"docker run --rm --name {name} --label guardian.enable=true work:1 true", timeout=60
    )
    site.machine.succeed(
        "docker start plain && docker exec plain true && docker restart -t 0 plain && docker kill plain"
    )


@pytest.mark.parametrize("harm", HARMS)
def test_containers_start_as_without_guardian(site: Site, harm: str) -> None:
    site.run("plain", "sleep infinity")
    site.machine.succeed("docker kill plain")
    for path in FILES:
        site.machine.succeed(f"mkdir -p /root/aside; cp -aL {path} /root/aside/kept")
        real = site.machine.succeed(f"readlink -f {path}").strip()
        site.machine.succeed(HARMS[harm].format(real))
        try:
            _survives(site, "probe")
        finally:
            site.machine.succeed(f"rm -f {real}; cp -a /root/aside/kept {real}")


def test_a_restart_of_docker_with_everything_of_guardian_gone(site: Site) -> None:
    """All but the front: docker restarts, unguarded and guarded containers start again by their policies."""
    site.run("guarded", "sleep infinity", "--restart always")
    site.machine.succeed(
        "systemctl kill -s KILL guardian-worker; cd /usr/libexec/docker-guardian; rm -rf /usr/lib/docker-guardian;"
        "rm -f ask bundle.py commit emergency hold holder start worker"
    )
    try:
        site.machine.succeed("systemctl restart docker.service", timeout=120)
        site.machine.wait_until_succeeds("docker exec guarded true")
    finally:
        site.machine.succeed(
            "rm -rf /usr/lib/docker-guardian /usr/libexec/docker-guardian;"
            "apt-get install --yes --reinstall /root/guardian.deb; systemctl restart guardian-worker"
        )


def test_an_unreadable_store(site: Site) -> None:
    site.run("stays", "sleep infinity", "--restart always")
    site.machine.succeed(
        "mount -t tmpfs -o ro none /var/lib/guardian; systemctl restart guardian-worker || true"
    )
    try:
        site.machine.succeed("systemctl restart docker.service", timeout=120)
        site.machine.wait_until_succeeds("docker exec stays true")
    finally:
        site.machine.succeed("umount /var/lib/guardian; systemctl restart guardian-worker")


def test_a_front_that_does_not_answer_as_runc_is_not_put_into_the_path(site: Site) -> None:
    site.machine.succeed(
        "mv /usr/sbin/runc /usr/sbin/runc.kept; printf '#!/bin/sh\\nexit 1\\n' >/usr/sbin/runc; chmod +x /usr/sbin/runc"
    )
    site.machine.succeed("rm /usr/libexec/docker-guardian/path/runc")
    try:
        site.machine.execute(
            "dpkg-reconfigure docker-guardian 2>&1 || /var/lib/dpkg/info/docker-guardian.postinst configure 0"
        )
        site.machine.fail("test -e /usr/libexec/docker-guardian/path/runc")
    finally:
        site.machine.succeed(
            "mv -f /usr/sbin/runc.kept /usr/sbin/runc; /var/lib/dpkg/info/docker-guardian.postinst configure 0.1.0"
        )
    site.machine.succeed("test -e /usr/libexec/docker-guardian/path/runc")
