"""More ways down than a reboot, and docker that comes up late or not at all: nothing is left unseen."""

from __future__ import annotations

import shlex

from tests.host.outside import client, no_resets, unnoticed
from tests.host.site import Site

_SHIM = "/usr/bin/containerd-shim-runc-v2"


def _down_and_back(site: Site, how: str, *, limit: float) -> None:
    """Down within `limit` seconds, booted again, everything restored."""
    said = site.machine.run(f"systemctl {how}")
    site.machine.wait_for_shutdown(timeout=limit, said=said)
    site.machine.start()
    site.wait_restored()


def test_soft_reboot(site: Site) -> None:
    """/run, nftables and conntrack survive it."""
    before = site.redis("srv", "--restart always")
    site.program("web", "server 80", "-p 8080:80")
    with client(site, 8080) as outside, no_resets(site):
        site.machine.execute("systemctl soft-reboot")
        site.machine.wait_until_succeeds("[ $(systemctl show -P SoftRebootsCount) = 1 ]")
        site.wait_restored()
        unnoticed(outside)
    assert site.seen_in("srv") == before
    assert (site.outcome("srv"), site.outcome("web")) == ("resumed", "resumed")


def test_rescue_and_back(site: Site) -> None:
    before = site.redis("srv", "--restart always")
    site.program("web", "server 80", "-p 8080:80")
    with client(site, 8080) as outside, no_resets(site):
        site.machine.execute("systemctl isolate rescue.target")
        site.machine.wait_until_succeeds("[ $(systemctl is-active docker.service) = inactive ]")
        site.machine.execute("systemctl isolate multi-user.target")
        site.machine.succeed("systemctl start docker.service", timeout=180)
        site.wait_restored()
        unnoticed(outside)
    assert site.seen_in("srv") == before
    assert (site.outcome("srv"), site.outcome("web")) == ("resumed", "resumed")


def test_halt(site: Site) -> None:
    before = site.redis("srv", "--restart always")
    _down_and_back(site, "halt", limit=120)
    assert site.seen_in("srv") == before
    assert site.outcome("srv") == "resumed"


def test_dockerd_ended_by_hand_stops_the_containers_and_says_so(site: Site) -> None:
    """SIGTERM has dockerd itself stop its containers: nothing is there any more that could be saved."""
    site.redis("srv", "--restart always")
    before = site.machine.unit_property("docker.service", "MainPID")
    site.machine.succeed(f"kill -TERM {before}")
    site.machine.wait_until_succeeds(
        f"[ $(systemctl show -P MainPID docker.service) != {before} ] && systemctl is-active docker.service"
        " || ! systemctl start docker.service"
    )
    site.wait_restored()
    assert site.outcome("srv") == "cold"
    assert "without a checkpoint" in site.reason("srv")


def test_containerd_restarted_in_the_middle(site: Site) -> None:
    before = site.redis("srv", "--restart always")
    site.restart_docker()
    site.machine.succeed("systemctl restart containerd.service")
    site.wait_restored()
    assert site.seen_in("srv") == before
    site.machine.succeed(
        "guardianctl checkpoint srv && systemctl restart containerd.service && guardianctl restore srv"
    )
    assert site.seen_in("srv") == before
    assert site.outcome("srv") == "resumed"


def test_a_shim_that_containerd_has_left_keeps_no_host_up(site: Site) -> None:
    """One that does not heed SIGTERM, as that of a start in which containerd was killed: systemd waits 90 s for it."""
    before = site.redis("srv", "--restart always")
    shim = f"exec -a {_SHIM} python3 -c 'import signal; signal.pause()' -id {site.inspect('srv', '{{.Id}}')}"
    unit = "systemd-run --unit=left -p Type=oneshot -p RemainAfterExit=yes -p KillMode=process"
    script = f"trap '' TERM; ({shim}) &"
    site.machine.succeed(f"{unit} bash -c {shlex.quote(script)}")
    site.machine.wait_until_succeeds(f"pgrep -f '^{_SHIM} '")
    _down_and_back(site, "reboot", limit=60)
    assert site.seen_in("srv") == before
    assert site.outcome("srv") == "resumed"


def test_docker_that_is_not_started_at_boot_leaves_nothing_unseen(site: Site) -> None:
    before = site.redis("srv", "--restart always")
    machine = site.machine
    machine.succeed("systemctl disable docker.service docker.socket")
    try:
        machine.run("systemctl reboot")
        machine.wait_for_shutdown(timeout=120)
        machine.start()
        machine.wait_until_succeeds(
            "journalctl -b -u guardian-notice | grep 'srv waits to be restored, and docker is not started'"
        )
        assert machine.succeed("systemctl is-active docker.service || true").strip() == "inactive"
        machine.succeed("systemctl start guardian-worker.service")
        machine.wait_until_succeeds("guardianctl list")
        assert site.list()["srv"]["state"] == "held"
    finally:
        machine.succeed("systemctl enable docker.service docker.socket; systemctl start docker.service")
    site.wait_restored()
    assert site.seen_in("srv") == before
    assert site.outcome("srv") == "resumed"


def test_docker_started_by_its_socket_restores(site: Site) -> None:
    before = site.redis("srv", "--restart always")
    machine = site.machine
    machine.succeed("systemctl disable docker.service; systemctl enable docker.socket")
    try:
        machine.run("systemctl reboot")
        machine.wait_for_shutdown(timeout=120)
        machine.start()
        machine.wait_until_succeeds("docker ps")
        site.wait_restored()
    finally:
        machine.succeed("systemctl enable docker.service docker.socket")
    assert site.seen_in("srv") == before
    assert site.outcome("srv") == "resumed"


STACK = """\
[Unit]
Requires=docker.service
After=docker.service
After=guardian-restore.service
Before=guardian-stacks.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=docker start srv
ExecStop=docker stop srv
[Install]
WantedBy=multi-user.target
"""


def test_a_stack_kept_by_a_unit_of_its_own(site: Site) -> None:
    before = site.redis("srv")
    site.machine.write("/etc/systemd/system/stack.service", STACK)
    site.machine.succeed("systemctl daemon-reload; systemctl enable --now stack.service")
    try:
        for way in (Site.reboot, Site.restart_docker):
            way(site)
            site.machine.wait_for_unit("stack.service")
            assert site.seen_in("srv") == before
            assert site.outcome("srv") == "resumed"
    finally:
        site.machine.succeed("systemctl disable stack.service; rm /etc/systemd/system/stack.service")


def test_live_restore_is_respected(site: Site) -> None:
    """Nothing on a restart of dockerd, a checkpoint when the host goes down."""
    machine = site.machine
    daemon = site.set_up_daemon({"live-restore": True})
    machine.succeed("systemctl reload docker.service")
    machine.wait_until_succeeds("docker info -f '{{.LiveRestoreEnabled}}' | grep true")
    try:
        before = site.redis("srv", "--restart always")
        pid = site.inspect("srv", "{{.State.Pid}}")
        machine.succeed("systemctl restart docker.service")
        site.wait_restored()
        assert site.inspect("srv", "{{.State.Pid}}") == pid
        assert site.outcome("srv") == ""
        site.reboot()
        assert site.seen_in("srv") == before
        assert site.outcome("srv") == "resumed"
    finally:
        machine.write("/etc/docker/daemon.json", daemon)
        machine.succeed("systemctl restart docker.service")


def test_a_store_on_a_mount_that_needs_the_network(site: Site) -> None:
    """What reads the store waits for it, the fence does not, and systemd finds no ordering cycle."""
    machine = site.machine
    machine.succeed("mkdir -p /srv/store /mnt/store; cp /etc/fstab /root/fstab || touch /root/fstab")
    machine.succeed(
        "echo '/srv/store /mnt/store none bind,_netdev 0 0' >>/etc/fstab; systemctl daemon-reload"
    )
    machine.succeed("mount /mnt/store")
    machine.write("/etc/guardian/guardian.toml", '[store]\npath = "/mnt/store"\n')
    machine.succeed("systemctl restart guardian-worker; systemctl daemon-reload")
    try:
        before = site.redis("srv", "--restart always")
        site.program("web", "server 80", "-p 8080:80")
        with client(site, 8080) as outside, no_resets(site):
            site.reboot()
            unnoticed(outside)
        assert site.seen_in("srv") == before
        assert (site.outcome("srv"), site.outcome("web")) == ("resumed", "resumed")
        assert machine.succeed("ls /srv/store | wc -l").strip() == "2"
        machine.fail("journalctl -b | grep -i 'ordering cycle'")
        assert "/mnt/store" in machine.succeed("systemctl show -P WantsMountsFor guardian-hold.service")
    finally:
        machine.succeed("docker rm -f srv web; rm /etc/guardian/guardian.toml; cp /root/fstab /etc/fstab")
        machine.succeed("systemctl restart guardian-worker; umount /mnt/store; systemctl daemon-reload")
        machine.wait_until_succeeds("guardianctl list")
