"""Packages of the next Debian release, laid into a machine's apt cache while it is off: it has no way to a mirror."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from . import cache
from .local import LocalMachine

_FORKY = "etc/apt/sources.list.d/forky.list"
_PIN = "etc/apt/preferences.d/forky"


def fetch(machine: LocalMachine, packages: Sequence[str]) -> None:
    """Download forky's version of the packages and of what they need into a machine that is off."""
    environment = shlex.join(f"{key}={value}" for key, value in cache.APT_ENVIRONMENT.items())
    apt = f"env {environment} chroot $ROOT apt-get"
    machine.offline(
        f"echo 'deb {cache.mirror()} forky main' >$ROOT/{_FORKY}"
        f" && printf 'Package: *\\nPin: release n=forky\\nPin-Priority: 100\\n' >$ROOT/{_PIN}"
        " && rm -f $ROOT/etc/resolv.conf && cp /etc/resolv.conf $ROOT/etc/resolv.conf"
        f" && {apt} update -qq && {apt} install --yes -qq --download-only --no-install-recommends -t forky"
        f" {shlex.join(packages)} && rm -f $ROOT/etc/resolv.conf",
        timeout=900,
    )


def upgrade(machine: LocalMachine, packages: Sequence[str]) -> None:
    """What an administrator says in the running machine; nothing is fetched any more."""
    machine.succeed(
        "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-download --no-install-recommends -t forky"
        f" -o Dpkg::Options::=--force-confold {shlex.join(packages)}",
        timeout=900 * machine.slowness,
        unit=True,
    )
