"""guardianctl doctor: quiet on a healthy host; things broken one by one are named; and the canary before a restore."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

import pytest

from tests.host.site import Site

STORE = "/var/lib/guardian/checkpoints"
DROP_IN = "/etc/systemd/system/{0}.service.d"
CRIU = "/usr/sbin/criu"
BREAKAGE = {
    "drop-in": (
        "mkdir -p {folder}; printf '[Service]\\nEnvironment=PATH=/usr/bin\\n' >{folder}/own.conf; {reload}",
        "rm -r {folder}; {reload}",
        "guardian's drop-in is not in force for containerd.service",
    ),
    "front": (
        "mv /usr/libexec/docker-guardian/path/runc /root/runc.kept",
        "mv /root/runc.kept /usr/libexec/docker-guardian/path/runc",
        "path/runc is not there",
    ),
    "criu-configuration": (
        "mkdir -p /etc/criu; echo 'action-script /root/own' >/etc/criu/default.conf",
        "rm /etc/criu/default.conf",
        "/etc/criu/default.conf has action-script",
    ),
    "nftables": ("mv /usr/sbin/nft /root/nft.kept", "mv /root/nft.kept /usr/sbin/nft", "nft is not there"),
    "conntrack": (
        "mv /usr/sbin/conntrack /root/conntrack.kept",
        "mv /root/conntrack.kept /usr/sbin/conntrack",
        "conntrack is not there",
    ),
    "permissions": (f"chmod 755 {STORE}", f"chmod 700 {STORE}", f"{STORE} has the mode 0755"),
    "units": (
        "systemctl stop guardian-worker",
        "systemctl start guardian-worker",
        "guardian-worker.service is inactive",
    ),
    "engine": (
        "cp /etc/docker/daemon.json /root/; echo '{{\"no-such-option\": true}}' >/etc/docker/daemon.json",
        "mv /root/daemon.json /etc/docker/",
        "dockerd would not start again",
    ),
    "configuration": (
        "cp /etc/guardian/guardian.toml /root/; echo '[restore]\nmax-agee = 1' >/etc/guardian/guardian.toml",
        "mv /root/guardian.toml /etc/guardian/",
        "max-agee",
    ),
    "canary": (
        "mv /usr/libexec/docker-guardian/canary /root/canary.kept",
        "mv /root/canary.kept /usr/libexec/docker-guardian/canary",
        "could not be tried",
    ),
}
"""What is broken, how it is mended, and words that name it."""
SEVERITY = {"permissions": "warning", "drop-in": "warning", "conntrack": "warning", "canary": "warning"}
TOO_NEW = '[ "$1" = restore ] && { echo "this kernel is too new" >&2; exit 1; }'
STATUS = {"error": 1, "warning": 3}


def doctor(site: Site) -> tuple[int, dict[str, list[str]], dict[str, str]]:
    """The exit status, what was found and how bad it is, by the checks' names."""
    status, said = site.machine.execute("guardianctl doctor --json")
    found = json.loads(said)["findings"]
    assert all(item["what"] and item["why"] and item["cure"] for item in found)
    whats: dict[str, list[str]] = {}
    for item in found:
        whats.setdefault(item["name"], []).append(item["what"])
    return status, whats, {item["name"]: item["severity"] for item in found}


def lacks_resource_capability(site: Site) -> bool:
    """Whether this host cannot have CAP_SYS_RESOURCE (number 24)."""
    mask = site.machine.succeed("grep CapEff /proc/1/status").split()[1]
    return not int(mask, 16) >> 24 & 1


@contextlib.contextmanager
def criu_that(site: Site, script: str) -> Iterator[None]:
    """A criu that does something else before the real one."""
    site.machine.succeed(f"mv {CRIU} {CRIU}.real")
    site.machine.write(CRIU, f'#!/bin/sh\n{script}\nexec {CRIU}.real "$@"\n')
    site.machine.succeed(f"chmod +x {CRIU}")
    try:
        yield
    finally:
        site.machine.succeed(f"mv {CRIU}.real {CRIU}")


def assert_nothing_is_left(site: Site) -> None:
    """No process of a canary's, and no folder."""
    assert site.machine.succeed(f"find {STORE} /run/guardian -name '.canary*'") == ""
    site.machine.fail("pgrep -x canary")


def test_a_healthy_host(site: Site) -> None:
    site.redis("redis")
    print(site.machine.execute("guardianctl doctor")[1])
    status, found, severities = doctor(site)
    assert "error" not in severities.values(), found
    if lacks_resource_capability(site):
        assert "CAP_SYS_RESOURCE is missing" in found.pop("capabilities")[0]
        assert status == STATUS["warning"]
    assert found == {}
    assert_nothing_is_left(site)


@pytest.mark.parametrize("name", BREAKAGE)
def test_what_is_broken_is_named(site: Site, name: str) -> None:
    harm, mend, words = BREAKAGE[name]
    folder = DROP_IN.format("containerd")
    site.machine.succeed(
        f"test -e /etc/docker/daemon.json || echo '{{}}' >/etc/docker/daemon.json; mkdir -p {STORE}"
    )
    site.machine.succeed(harm.format(folder=folder, reload="systemctl daemon-reload"))
    try:
        status, found, severities = doctor(site)
    finally:
        site.machine.succeed(mend.format(folder=folder, reload="systemctl daemon-reload"))
    assert any(words in what for what in found.get(name, [])), found
    assert severities[name] == SEVERITY.get(name, "error")
    assert status == STATUS["error" if "error" in severities.values() else "warning"]
    assert name not in doctor(site)[1]


def test_a_containerd_that_was_started_without_the_front(site: Site) -> None:
    site.machine.write("/root/own.sh", "printf containerd >/proc/self/comm\nsleep 1000\ntrue\n")
    site.machine.succeed("systemd-run --unit=own --setenv=PATH=/usr/bin /bin/sh /root/own.sh")
    site.machine.wait_until_succeeds("grep -qx containerd /proc/$(systemctl show -P MainPID own)/comm")
    try:
        _, found, severities = doctor(site)
    finally:
        site.machine.succeed("systemctl stop own")
    assert "without guardian's runtime in its path" in found["front"][0]
    assert severities["front"] == "error"


def test_a_criu_that_is_too_old(site: Site) -> None:
    with criu_that(site, '[ "$1" = --version ] && exec echo Version: 3.17.1'):
        _, found, severities = doctor(site)
    assert "3.17.1 is older than 3.19" in found["criu-version"][0]
    assert severities["criu-version"] == "error"


def test_a_seccomp_filter_over_the_worker(site: Site) -> None:
    folder = DROP_IN.format("guardian-worker")
    site.machine.write(f"{folder}/filter.conf", "[Service]\nSystemCallFilter=~@obsolete\n")
    site.machine.succeed("systemctl daemon-reload; systemctl restart guardian-worker")
    try:
        _, found, severities = doctor(site)
    finally:
        site.machine.succeed(f"rm -r {folder}; systemctl daemon-reload; systemctl restart guardian-worker")
    assert "guardian-worker" in found["seccomp"][0]
    assert severities["seccomp"] == "error"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (TOO_NEW, "criu restore: this kernel is too new"),
        ('[ "$1" = dump ] && exit 7', "criu dump: status 7"),
        ('[ "$1" = dump ] && exec sleep 1000', "criu dump: criu took longer than"),
        # It says that it has restored, and has not.
        ('[ "$1" = restore ] && exit 0', "criu restore: it says that it is done, and there is no process"),
    ],
    ids=["restore fails", "dump fails", "dump hangs", "restore lies"],
)
def test_the_canary_tells_a_criu_that_is_broken(site: Site, script: str, words: str) -> None:
    with criu_that(site, script):
        status, found, severities = doctor(site)
    assert words in found["canary"][0].replace(f"{CRIU}", "criu")
    assert severities["canary"] == "error"
    assert status == STATUS["error"]
    assert_nothing_is_left(site)


def test_a_host_that_cannot_restore_starts_cold_and_keeps_the_images(site: Site) -> None:
    before = {name: site.redis(name, "--restart always") for name in ("first", "second")}
    site.machine.succeed("guardianctl checkpoint")
    with criu_that(site, TOO_NEW):
        site.reboot()
        for name, redis in before.items():
            assert site.outcome(name) == "cold"
            assert "canary" in site.reason(name)
            assert "this kernel is too new" in site.reason(name)
            site.machine.wait_until_succeeds(f"docker exec {name} redis-cli ping")
            assert site.seen_in(name).run_id != redis.run_id
    assert site.machine.succeed("ls /run/guardian/holds").strip() == ""
    kept = json.loads(site.machine.succeed("guardianctl checkpoints --json"))
    assert [item["state"] for item in kept] == ["orphaned", "orphaned"]
    assert all(item["size"] > 0 for item in kept)
    # And the next time it works again.
    again = {name: site.seen_in(name) for name in before}
    site.reboot()
    for name, redis in again.items():
        assert site.outcome(name) == "resumed"
        assert site.seen_in(name) == redis
    told = site.machine.journal(unit="guardian-worker.service")
    seconds = re.findall(r"canary: dumped and restored \((\d+\.\d+) s\)", told)
    print(f"the canary after a boot: {seconds} s")
    assert seconds
    assert_nothing_is_left(site)


def test_a_restart_of_docker_is_preceded_by_the_canary_as_well(site: Site) -> None:
    before = site.redis("redis", "--restart always")
    with criu_that(site, '[ "$1" = restore ] && exit 1'):
        site.restart_docker()
        assert site.outcome("redis") == "cold"
        assert "canary" in site.reason("redis")
    assert site.seen_in("redis").run_id != before.run_id


def test_without_the_canary_by_configuration(site: Site) -> None:
    site.set_up_guardian("[restore]\ncanary = false\n")
    site.redis("redis", "--restart always")
    # Only the canary calls CRIU's command line for a restore: runc has CRIU serve it.
    with criu_that(site, '[ "$1" = restore ] && exit 1'):
        site.restart_docker()
    assert site.outcome("redis") == "resumed"


def test_a_full_store_does_not_silence_the_canary(site: Site) -> None:
    site.machine.succeed(f"mkdir -p {STORE}; mount -t tmpfs -o size=1m full {STORE}")
    try:
        _, found, severities = doctor(site)
    finally:
        site.machine.succeed(f"umount {STORE}")
    assert "canary" not in found
    assert severities["disk"] == "error"
