"""A broken guardian never keeps a container from starting: each of its files away, empty or garbage."""

from __future__ import annotations

import pytest

from tests.host.site import Site

CONFIGURATION = "/etc/guardian/guardian.toml"
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
    CONFIGURATION,
    "/usr/lib/systemd/system/guardian-worker.service",
]
OF_THE_WORKER = {
    "/usr/libexec/docker-guardian/worker",
    "/usr/lib/docker-guardian/guardian/model/config.py",
    "/usr/bin/python3",
    CONFIGURATION,
    "/usr/lib/systemd/system/guardian-worker.service",
}
"""What only a worker that starts, and a systemd that reads its units again, has to do with; the rest is run anew."""
STORE = "/var/lib/guardian/checkpoints"
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
        try:
            _harm(site, HARMS[harm].format(real), path)
            if path in OF_THE_WORKER:
                _is_in_force(site, path, harm)
            _survives(site, "probe")
        finally:
            _harm(site, f"rm -f {real}; cp -a /root/aside/kept {real}", path)
    site.machine.succeed("guardianctl list")


def _is_in_force(site: Site, path: str, harm: str) -> None:
    """No worker runs; but one does without a configuration that it could read, by the defaults."""
    runs = site.machine.execute("systemctl is-active guardian-worker")[0] == 0
    assert runs == (path == CONFIGURATION), f"{path} {harm}"
    if path == CONFIGURATION and harm == "corrupted":
        site.machine.succeed("journalctl -u guardian-worker | grep 'does not parse.*; the defaults are used'")


def _harm(site: Site, harm: str, path: str) -> None:
    """Do something to one of the files, and have it be in force."""
    if path not in OF_THE_WORKER:
        site.machine.succeed(harm)
        return
    site.machine.succeed(f"systemctl stop guardian-worker; {harm}")
    site.machine.execute("systemctl daemon-reload; systemctl reset-failed; systemctl start guardian-worker")


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


def test_a_store_that_is_read_only(site: Site) -> None:
    """And empty: the worker cannot start at all."""
    site.run("stays", "sleep infinity", "--restart always")
    site.machine.succeed(
        "mount -t tmpfs -o ro none /var/lib/guardian; systemctl restart guardian-worker || true"
    )
    try:
        site.machine.succeed("systemctl restart docker.service", timeout=120)
        site.machine.wait_until_succeeds("docker exec stays true")
    finally:
        site.machine.succeed("umount /var/lib/guardian; systemctl restart guardian-worker")
    site.wait_for(lambda: site.outcome("stays") == "cold")
    assert site.reason("stays") == "the host or dockerd went down without a checkpoint"


def test_an_unreadable_store(site: Site) -> None:
    """Its folder cannot be opened, by root neither: all start cold, also what no policy starts, and it is said."""
    before = {"stays": site.redis("stays", "--restart always"), "on": site.redis("on", "--restart no")}
    site.machine.succeed(f"mv {STORE} {STORE}.aside && ln -s checkpoints {STORE}")
    try:
        assert "the store cannot be read" in site.machine.fail("guardianctl checkpoints 2>&1")
        site.machine.succeed("systemctl restart docker.service", timeout=120)
        for name, redis in before.items():
            site.machine.wait_until_succeeds(f"docker exec {name} redis-cli ping")
            assert site.seen_in(name).run_id != redis.run_id
        assert not site.machine.succeed("ls /run/guardian/holds").split()
    finally:
        site.machine.succeed(f"rm {STORE}; mv {STORE}.aside {STORE}; systemctl reset-failed")
    site.machine.succeed("systemctl start guardian-restore")
    for name in before:
        assert site.outcome(name) == "cold"
        assert "the store cannot be used: " in site.reason(name)


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
