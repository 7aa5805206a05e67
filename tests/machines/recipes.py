"""What is in each root, as data: a changed recipe is another root."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import cache

FORMAT = 2
"""Raise it when the code that carries a recipe out makes another root of the same recipe."""

IMAGE = "work:1"
CAP_SYS_RESOURCE = 24

HOST_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "procps", "python3"),
    *("docker.io", "docker-cli", "docker-compose", "containerd", "runc", "criu", "python3-pycriu"),
    *("iproute2", "iptables", "nftables", "conntrack"),
    *("python3-docker", "python3-dbus-next", "python3-pystemd", "python3-toml"),
    *("zstd", "age", "checkpointctl"),
)
SSH_PACKAGES = ("openssh-server", "openssh-client")
"""For tests with two hosts; elsewhere its units are asleep."""
SSH_UNITS = ("ssh.service", "ssh.socket")
VM_PACKAGES = (
    *("openssh-server", "apparmor", "linux-image-cloud-amd64", "kmod", "udev", "initramfs-tools"),
    "kexec-tools",
)
NEEDLESS = ("usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "usr/share/info/*")
APT_CACHES = (
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/cache/debconf/*-old",
    "var/log/*.log",
    "var/log/apt",
)

ADDRESS_UNIT = """\
[Unit]
Description=Address of the test host on its bridge
DefaultDependencies=no
Wants=network-pre.target
After=network-pre.target
Before=network.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/guardian-test-host
ExecStart=ip link set host0 up
ExecStart=ip address add ${ADDRESS}/${PREFIX} dev host0
ExecStart=ip route add default via ${GATEWAY}
# The network of a container outlives its last process for a moment, and would answer peers then. A kernel's does not.
ExecStop=ip link set host0 down

[Install]
WantedBy=sysinit.target
"""
# A clone lives for minutes: nothing is to be looked after in the background.
QUIET_UNITS = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "man-db.timer", "logrotate.timer"),
)
# The devices that a container host sees belong to this machine.
DEVICE_UNITS = (
    *("systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket"),
    *("systemd-udevd-varlink.socket", "systemd-udev-trigger.service", "systemd-udev-settle.service"),
)
APPARMOR_KEPT = (
    *("abi", "abstractions", "disable", "force-complain", "local", "tunables"),
    *("runc", "unprivileged_userns"),
)
JOURNAL = "[Journal]\nStorage=persistent\nRateLimitBurst=0\n"
CRIU_WRAPPER = """\
#!/bin/sh
LD_PRELOAD=/usr/lib/guardian-test/rlimit_shim.so exec /usr/lib/guardian-test/criu "$@"
"""


@dataclass(frozen=True)
class Recipe:
    """A Debian root: packages, then files, then commands run in it, then what is removed."""

    name: str
    suite: str
    packages: tuple[str, ...]
    variant: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    newer: tuple[str, ...] = ()
    """Packages taken from forky instead."""
    enable: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    removed: tuple[str, ...] = NEEDLESS + APT_CACHES
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Folders of which only these entries stay."""
    extra: str = ""
    """What else the result depends on."""

    @property
    def digest(self) -> str:
        """The short name of exactly this recipe."""
        return cache.digest(str(FORMAT), json.dumps(asdict(self), sort_keys=True))


def lacks_resource_capability() -> bool:
    """Whether no process of this machine can have CAP_SYS_RESOURCE."""
    lines = Path("/proc/self/status").read_text().splitlines()
    bounding = next(line.split()[1] for line in lines if line.startswith("CapBnd:"))
    return not int(bounding, 16) >> CAP_SYS_RESOURCE & 1


def shim_source() -> Path:
    """The C source of the library that the criu wrapper preloads."""
    return Path(__file__).with_name("rlimit_shim.c")


def image() -> Recipe:
    """The root that the container image `work:1` is made of."""
    return Recipe(
        name="image", suite="trixie", variant="minbase", packages=("redis-server", "python3", "iproute2")
    )


def database_image() -> Recipe:
    """The root of an image with a database server and what puts it under load."""
    return Recipe(
        name="database",
        suite="trixie",
        variant="minbase",
        packages=("postgresql", "locales-all"),
    )


def container_host(kind: str) -> Recipe:
    """A host that systemd-nspawn boots on the kernel of this machine: a suite, or SUITE+PACKAGE."""
    suite, _, more = kind.partition("+")
    return Recipe(
        name=kind,
        suite=suite,
        packages=HOST_PACKAGES + SSH_PACKAGES + ((more,) if more else ()),
        files={
            "etc/systemd/system/guardian-test-address.service": ADDRESS_UNIT,
            "etc/systemd/journald.conf.d/guardian-test.conf": JOURNAL,
            "etc/hostname": "guardian-test\n",
        },
        # CRIU 4.1.1 fails on kernels from 6.16 on, and a container host has the kernel of this machine.
        newer=() if suite == "forky" else ("criu", "libcompel1", "libnet9", "libnl-3-200"),
        enable=("guardian-test-address.service",),
        mask=QUIET_UNITS + DEVICE_UNITS + SSH_UNITS,
        extra=image().digest + (shim_source().read_text() if lacks_resource_capability() else ""),
    )


def virtual_machine() -> Recipe:
    """A machine with a kernel of its own, and what that one can do (soft-dirty, AppArmor, cgroup controllers)."""
    return Recipe(
        name="vm",
        suite="trixie",
        packages=HOST_PACKAGES + VM_PACKAGES,
        files={
            # The way in for the tests; the card on the network that has peers is told its address at each clone.
            "etc/systemd/network/80-control.network": "[Match]\nName=en*\n[Network]\nDHCP=yes\n",
            "etc/systemd/journald.conf.d/guardian-test.conf": JOURNAL,
            "etc/hostname": "guardian-test\n",
            "etc/fstab": "/dev/vda / ext4 errors=remount-ro 0 1\n",
        },
        mask=(*QUIET_UNITS, "networking.service", "ifupdown-pre.service"),
        # The profiles of a hundred desktop programs take half a minute to load.
        only={"etc/apparmor.d": APPARMOR_KEPT},
        extra=image().digest,
    )


def known_suites() -> tuple[str, ...]:
    """The Debian suites that container hosts exist for; the first is the default."""
    return ("forky", "trixie")
