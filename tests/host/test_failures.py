"""What goes wrong around a checkpoint, each with its outcome: nothing is lost, nothing hangs, the reason is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardian.work.cold import MAY_HAVE_RUN
from tests.host.site import Site

SLEEP = "sleep infinity"
STORE = "/var/lib/guardian/checkpoints"
HASHED = "guardianctl checkpoints --json | grep -q '\"hashed\": true'"
"""What is asked until the images of the one checkpoint that is there have their hashes."""


def test_a_full_disk_at_the_checkpoint(site: Site) -> None:
    """The store is a small file system: refused beforehand, stopped gracefully, cold with the reason."""
    site.redis("full")
    site.machine.succeed(
        f"mount -t tmpfs -o size=4m small {STORE} && systemctl kill --kill-whom=main -s TERM guardian-worker"
    )
    site.machine.wait_until_succeeds("guardianctl list | grep full")
    try:
        told = site.machine.execute("guardianctl checkpoint full 2>&1")[1]
        assert "no space in the store" in told
        assert site.inspect("full", "{{.State.Running}}") == "true"
        site.restart_docker()
        assert site.outcome("full") == "cold"
        assert "no space" in site.reason("full")
    finally:
        site.machine.succeed(f"umount {STORE}; systemctl kill --kill-whom=main -s TERM guardian-worker")


def test_a_disk_that_fills_during_the_dump(site: Site) -> None:
    """Told to keep nothing free, the space check passes and CRIU runs out of space: the container goes on."""
    before = site.redis("grows")
    site.machine.succeed("docker exec grows redis-cli debug populate 200000 k 100")
    site.machine.succeed(f"mount -t tmpfs -o size=64m small {STORE}")
    site.machine.write("/etc/guardian/guardian.toml", '[store]\nreserve = "0"\n')
    site.machine.succeed("systemctl restart guardian-worker")
    site.machine.wait_until_succeeds("guardianctl list | grep grows")
    try:
        site.machine.succeed(f"dd if=/dev/zero of={STORE}/ballast bs=1M count=56")
        told = site.machine.execute("guardianctl checkpoint grows 2>&1")[1]
        assert "failed" in told
        assert site.seen_in("grows").run_id == before.run_id
    finally:
        site.machine.succeed(
            f"umount {STORE}; rm /etc/guardian/guardian.toml; systemctl restart guardian-worker"
        )


def test_a_ceiling_for_one_container_and_for_all(site: Site) -> None:
    before = site.redis("large")
    for limit in ('max-container-size = "1M"', 'max-size = "1M"'):
        site.machine.write("/etc/guardian/guardian.toml", f"[store]\n{limit}\n")
        site.machine.succeed("systemctl restart guardian-worker")
        told = site.machine.execute("guardianctl checkpoint large 2>&1")[1]
        assert limit.split()[0] in told
    site.machine.succeed("rm /etc/guardian/guardian.toml; systemctl restart guardian-worker")
    assert site.seen_in("large") == before


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ("img", "its images are not what they were: [Errno 2] No such file or directory: "),
        ("img/inventory.img", "its images are not what they were: img/inventory.img is missing"),
        ("img/pages-1.img", "its images are not what they were: img/pages-1.img is missing"),
        ("proof", "restore.log: what came back is not what was dumped"),
    ],
)
def test_a_ticket_without_what_it_needs_starts_cold(site: Site, missing: str, why: str) -> None:
    before = site.redis("lacks", "--restart always")
    site.machine.succeed("guardianctl checkpoint lacks")
    site.machine.wait_until_succeeds(HASHED)
    site.machine.succeed(f"cd {STORE}/*/*/ && mv {missing} /root/away && rm -r /root/away")
    site.machine.execute("guardianctl restore lacks")
    assert site.outcome("lacks") == "cold"
    assert why in site.reason("lacks")
    site.machine.wait_until_succeeds("docker exec lacks redis-cli ping")
    assert site.seen_in("lacks").run_id != before.run_id
    assert site.machine.succeed(
        "ls /run/guardian/holds /run/guardian/tickets /run/guardian/holders"
    ).split() == [
        "/run/guardian/holders:",
        "/run/guardian/holds:",
        "/run/guardian/tickets:",
    ]


def test_an_interface_that_is_not_there_after_boot(site: Site) -> None:
    """dockerd starts nothing on a macvlan without its parent, cold neither: named, and not held."""
    site.machine.succeed("ip link add lanlike type veth peer lanpeer && ip link set lanlike up")
    site.machine.succeed("docker network create -d macvlan --subnet 10.66.0.0/24 -o parent=lanlike lan")
    srv = site.run("srv", SLEEP, "--network lan --restart always")
    site.run("neighbour", SLEEP)
    site.reboot()
    assert site.outcome("neighbour") == "resumed"
    assert site.outcome("srv") == "failed"
    assert "on network lan" in site.reason("srv")
    assert site.machine.succeed("ls /run/guardian/holds").strip() == ""
    assert site.machine.succeed(f"ls {STORE}/{srv}/*/img/inventory.img"), "the image is kept"


def test_a_corrupt_image_starts_cold_and_is_kept(site: Site) -> None:
    before = site.redis("corrupt", "--restart always")
    site.machine.succeed("guardianctl checkpoint corrupt")
    site.machine.wait_until_succeeds(HASHED)
    site.machine.succeed(f"for f in {STORE}/*/*/img/core-1.img; do echo broken >$f; done")
    site.reboot()
    assert site.outcome("corrupt") == "cold"
    assert site.reason("corrupt").startswith(
        "its images are not what they were: img/core-1.img has 7 bytes: it had "
    )
    assert site.seen_in("corrupt") != before
    assert site.machine.succeed(f"ls {STORE}/*/*/img/pages-1.img")
    assert site.machine.succeed("ls /run/guardian/holds").strip() == ""


def test_memory_that_changed_on_the_disk_is_not_restored(site: Site) -> None:
    """One byte of a page: CRIU would restore it."""
    before = site.redis("rotten", "--restart always")
    site.machine.succeed("guardianctl checkpoint rotten")
    site.machine.wait_until_succeeds(HASHED)
    site.machine.succeed(
        f"printf X | dd of=$(echo {STORE}/*/*/img/pages-1.img) bs=1 seek=100000 conv=notrunc status=none"
    )
    site.machine.execute("guardianctl restore rotten")
    assert site.outcome("rotten") == "cold"
    assert "its images are not what they were: img/pages-1.img has changed" in site.reason("rotten")
    assert site.seen_in("rotten") != before
    assert site.machine.succeed(f"ls {STORE}/*/*/ledger/orphaned {STORE}/*/*/img/pages-1.img")
    assert site.machine.succeed("ls /run/guardian/holds").strip() == ""


def test_another_processor(site: Site) -> None:
    """What another one would have written, which this CRIU does not agree to."""
    before = site.redis("elsewhere", "--restart always")
    site.machine.succeed("guardianctl checkpoint elsewhere")
    site.machine.succeed(f"for f in {STORE}/*/*/cpu; do grep -q '[0-9a-f]' $f && echo 00000000 >$f; done")
    site.machine.execute("guardianctl restore elsewhere")
    assert site.outcome("elsewhere") == "cold"
    assert "another processor" in site.reason("elsewhere")
    assert site.seen_in("elsewhere") != before
    assert site.machine.succeed(f"ls {STORE}/*/*/img/pages-1.img")


def test_a_read_only_ledger_at_the_moment_of_spent(site: Site) -> None:
    """`spent` cannot be written: CRIU refuses to let anything run, and the image stays good."""
    before = site.redis("careful")
    site.machine.succeed("guardianctl checkpoint careful")
    # Immutable: what is there can be read, and no name can be added.
    ledger = f"{STORE}/*/*/ledger"
    site.machine.succeed(
        "printf '#!/bin/sh\\nl=$GUARDIAN_CHECKPOINT/ledger\\n"
        '[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ] || { mount --bind $l $l; mount -o remount,bind,ro $l; }\\n'
        "exec /usr/libexec/docker-guardian/commit.real\\n' >/root/commit;"
        "cd /usr/libexec/docker-guardian; mv commit commit.real; install -m 755 /root/commit commit"
    )
    try:
        site.machine.execute("guardianctl restore careful")
    finally:
        site.machine.succeed(
            f"mv -f /usr/libexec/docker-guardian/commit.real /usr/libexec/docker-guardian/commit;"
            f" while umount {ledger}; do :; done"
        )
    assert site.seen_in("careful").run_id != before.run_id, "started cold, not from the image"
    site.machine.fail(f"ls {ledger}/spent")
    assert site.outcome("careful") == "cold"
    assert "cannot write the ledger: Read-only file system; and the ledger" in site.reason("careful")
    assert site.machine.succeed(f"ls {STORE}/*/*/img/pages-1.img"), "the image stays"


def test_a_reboot_during_the_restore(site: Site) -> None:
    before = {f"r{n}": site.redis(f"r{n}", "--restart always", value=str(n)) for n in range(3)}
    site.machine.succeed("guardianctl checkpoint")
    site.machine.succeed("systemd-run --unit=asked guardianctl restore")
    site.machine.wait_until_succeeds("ls /run/guardian/holders | grep -q .")
    site.reboot()
    for name, redis in before.items():
        assert site.outcome(name) in ("resumed", "cold")
        if site.outcome(name) == "resumed":
            assert site.reason(name) == ""
            assert site.seen_in(name) == redis
        else:  # the host went down between `spent` and the next checkpoint
            assert site.reason(name).startswith(MAY_HAVE_RUN)
        assert site.inspect(name, "{{.State.Running}}") == "true"


def test_two_shutdowns_in_a_row(site: Site) -> None:
    before = site.redis("twice")
    site.machine.succeed("systemctl stop docker.service docker.socket")
    site.machine.reboot()
    site.wait_restored()
    assert site.outcome("twice") == "resumed"
    assert site.seen_in("twice") == before


def test_power_cut_while_down(site: Site) -> None:
    before = site.redis("cut")
    site.machine.succeed("systemctl stop docker.service docker.socket")
    site.machine.crash()
    site.machine.start()
    site.wait_restored()
    assert site.seen_in("cut") == before


def test_dockerd_stopped_by_sigstop_does_not_hang_the_reboot(site: Site) -> None:
    before = site.redis("hung")
    site.machine.succeed("kill -STOP $(systemctl show -P MainPID docker.service)")
    # docker.service's own stop still waits for its 90 s limit: shortened, it is not what is looked at here.
    site.machine.succeed(
        "mkdir -p /run/systemd/system/docker.service.d;"
        "printf '[Service]\\nTimeoutStopSec=3\\n' >/run/systemd/system/docker.service.d/short.conf;"
        "systemctl daemon-reload"
    )
    site.reboot()
    assert site.outcome("hung") == "resumed"
    assert site.seen_in("hung") == before


def test_dockerd_that_crashes_three_times_in_a_minute(site: Site) -> None:
    before = site.redis("crashes", "--restart always")
    for _ in range(3):
        site.kill_docker()
    assert site.outcome("crashes") == "resumed"
    assert site.seen_in("crashes") == before


def test_dockerd_killed_with_a_broken_configuration(site: Site) -> None:
    """The new dockerd cannot start: the containers serve on; once it is mended they are saved and resumed."""
    before = site.redis("serves", "-p 6380:6379", "--restart always")
    pid = site.inspect("serves", "{{.State.Pid}}")
    settings = site.set_up_daemon({"no-such-option": True})
    site.machine.succeed(
        "systemctl reset-failed docker.service; kill -KILL $(systemctl show -P MainPID docker.service)"
    )
    site.machine.wait_until_succeeds("systemctl is-failed docker.service", timeout=60)
    assert site.machine.succeed(f"cat /proc/{pid}/comm").strip().startswith("redis")
    site.machine.succeed(f"nsenter -t {pid} -n true")
    site.machine.write("/etc/docker/daemon.json", settings)
    site.machine.succeed("systemctl reset-failed docker.service docker.socket")
    site.machine.succeed("systemctl start docker.service")
    site.wait_restored()
    assert site.outcome("serves") == "resumed"
    assert site.seen_in("serves") == before


def test_a_record_of_a_newer_format(site: Site) -> None:
    site.redis("newer", "--restart always")
    site.machine.succeed("guardianctl checkpoint newer")
    folder = site.machine.succeed(f"for f in {STORE}/*/*/format; do echo 99 >$f; dirname $f; done").strip()
    before = site.machine.succeed(f"find {folder} -type f | sort | xargs sha256sum")
    site.reboot()
    assert site.inspect("newer", "{{.State.Running}}") == "true"
    assert site.machine.succeed(f"find {folder} -type f | sort | xargs sha256sum") == before, "left alone"
    assert site.outcome("newer") == "cold"
    assert "format 99" in site.reason("newer")


@pytest.mark.parametrize("policy", ["no", "always"])
def test_a_record_that_was_not_begun_to_its_end(site: Site, policy: str) -> None:
    """The power goes before the last file of its folder is written, after a save and a resume that ended well."""
    site.redis("half", f"--restart {policy}")
    site.machine.succeed("guardianctl checkpoint half && guardianctl restore half")
    assert site.outcome("half") == "resumed"
    folder = site.machine.succeed(f"dirname {STORE}/*/*/format").strip()
    moment = site.machine.succeed("date -u +%Y%m%dT%H%M%S%3N").strip()
    half = f"{Path(folder).parent}/{moment}-abcdef"
    site.machine.succeed(f"mkdir -p {half}/ledger {half}/work {half}/img; cp {folder}/purpose {half}; sync")
    site.machine.crash()
    site.machine.start()
    site.wait_restored()
    assert site.inspect("half", "{{.State.Running}}") == "true"
    assert site.outcome("half") == "cold"
    assert "went down" in site.reason("half")


def test_emergency_exit_for_one_boot(site: Site) -> None:
    before = site.redis("emergency", "--restart always")
    site.machine.succeed("touch /var/lib/guardian/cold-once")
    site.reboot()
    assert site.outcome("emergency") == "cold"
    assert "cold-once" in site.reason("emergency")
    assert site.seen_in("emergency") != before
    site.machine.fail("ls /var/lib/guardian/cold-once")


def test_emergency_exit_on_the_kernel_command_line(site: Site) -> None:
    """The host has the command line of the machine it runs on: another one is laid over it for the unit's program."""
    site.run("booted", SLEEP)
    site.machine.succeed(
        "guardianctl checkpoint booted && systemctl stop guardian-worker && rm /run/guardian/holds/*"
    )
    site.machine.succeed(
        "echo 'root=/dev/sda guardian=cold quiet' >/root/cmdline && mount --bind /root/cmdline /proc/cmdline"
    )
    try:
        told = site.machine.succeed("/usr/libexec/docker-guardian/hold")
    finally:
        site.machine.succeed("umount /proc/cmdline; systemctl start guardian-worker")
    assert "starts cold, the kernel command line says guardian=cold" in told
    assert site.machine.succeed("ls /run/guardian/holds").strip() == ""
    site.machine.succeed("systemctl start guardian-restore")
    assert site.outcome("booted") == "cold"
    assert "guardian=cold" in site.reason("booted")


def test_the_emergency_unit_needs_no_python(site: Site) -> None:
    """Python does not start at all after the reboot: everything comes up cold, and nothing stays held."""
    site.redis("plain", "--restart no")
    site.machine.succeed(
        "mkdir -p /etc/systemd/system/guardian-worker.service.d /etc/systemd/system/guardian-restore.service.d;"
        "printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n'"
        " >/etc/systemd/system/guardian-worker.service.d/broken.conf;"
        "printf '[Service]\\nExecStart=\\nExecStart=/usr/libexec/docker-guardian/ask 3 engine-is-up\\n'"
        " >/etc/systemd/system/guardian-restore.service.d/broken.conf"
    )
    try:
        site.machine.reboot()
        site.machine.wait_until_succeeds("[ $(docker inspect -f '{{.State.Running}}' plain) = true ]")
        site.machine.wait_until_succeeds('[ -z "$(ls /run/guardian/holds)" ]')
    finally:
        site.machine.succeed("rm -r /etc/systemd/system/guardian-*.service.d; systemctl daemon-reload")
        site.machine.succeed("systemctl reset-failed; systemctl restart guardian-worker")
    site.machine.succeed("systemctl start guardian-restore")
    assert site.outcome("plain") == "cold"
    assert "emergency" in site.reason("plain")
