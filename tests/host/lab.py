"""Two hosts on one network, each with guardian, which reach each other by ssh as root."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.host.site import Site
from tests.machines import ContainerHost
from tests.machines.network import Network

SSH_CONFIGURATION = "Host one two\n  StrictHostKeyChecking accept-new\n  BatchMode yes\n"


class Lab:
    """The hosts `one` and `two`; each knows the other by that name."""

    def __init__(self, one: Site, two: Site) -> None:
        self.one = one
        self.two = two

    def clean(self) -> None:
        """Away with what an earlier test left."""
        for site in (self.one, self.two):
            site.clean()
            site.machine.succeed(
                "rm -rf /var/lib/guardian/checkpoints/.moves /var/lib/guardian/checkpoints/.arrivals"
            )

    def told(self) -> str:
        """What both say, for a failed test."""
        return f"--- one\n{self.one.told()}\n--- two\n{self.two.told()}"


@contextlib.contextmanager
def opened(package: Path, suites: tuple[str, str]) -> Iterator[Lab]:
    """Two hosts of these suites."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(Network())
        hosts = [stack.enter_context(ContainerHost(suite, network=network)) for suite in suites]
        sites = [Site(host) for host in hosts]
        names = dict(zip(("one", "two"), (host.address for host in hosts), strict=True))
        keys = []
        for name, site in zip(names, sites, strict=True):
            machine = site.machine
            lines = "".join(f"{address} {other}\n" for other, address in names.items())
            machine.succeed(f"printf '%s' '{lines}' >>/etc/hosts; hostname {name}")
            machine.succeed("mkdir -p /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
            machine.write("/root/.ssh/config", SSH_CONFIGURATION)
            keys.append(machine.read("/root/.ssh/id_ed25519.pub"))
            # It was masked when the root was made.
            machine.succeed("systemctl unmask ssh.service; systemctl start ssh.service")
        for site in sites:
            site.machine.write("/root/.ssh/authorized_keys", "".join(keys))
            site.install(package)
        yield Lab(*sites)
