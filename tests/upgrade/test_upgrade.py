"""apt upgrades Docker from 26 to 28 on a running Debian 13, and nobody notices: not the containers, not their peers."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.outside import Program, client, no_resets, program, unnoticed
from tests.host.site import Redis, Site
from tests.host.test_terminal import typed
from tests.machines import ContainerHost, VirtualMachine
from tests.machines.local import LocalMachine
from tests.machines.newer import fetch, upgrade

_REPOSITORY = Path(__file__).resolve().parents[2]
OLDER = {
    "first": "96cb0f5",
    "before open files were compared": "982d7ef",
}
"""Commits of guardian whose checkpoints today's has to understand: all wrote format 1."""
ENGINE = ("docker.io", "docker-cli", "containerd", "runc")
CRIU = ("criu", "libcompel1")


class Workload:
    """Containers with memory, connections of every kind and a terminal."""

    def __init__(self, site: Site, stack: contextlib.ExitStack) -> None:
        self._site = site
        stack.enter_context(program(site.network, "server", "9000"))
        self._redis: Redis = site.redis("redis", "--restart always")
        site.machine.succeed("docker network create shop")
        site.program("srv", "server 80", "-p 8080:80 --network shop --restart unless-stopped")
        depends = "--label guardian.depends-on=srv"
        site.program("inner", "client srv 80", f"-i --network shop {depends}")
        site.program("outward", f"client {site.network.gateway} 9000", "-i")
        site.run("shell", "bash --norc -i", "-it")
        typed(site, "shell", "X=remember$((6*7))\\n")
        for name in ("inner", "outward"):
            site.machine.wait_until_succeeds(f"docker logs --tail 1 {name} | grep -q '\"connects\": 1'")
        self._outside: Program = stack.enter_context(client(site, 8080, count=3))

    def goes_on(self) -> None:
        """Everything is as it was, on the connections that were there."""
        names = ("redis", "srv", "inner", "outward", "shell")
        outcomes = {name: (self._site.outcome(name), self._site.reason(name)) for name in names}
        assert outcomes == dict.fromkeys(names, ("resumed", ""))
        assert self._site.seen_in("redis") == self._redis
        unnoticed(self._outside, count=3)
        for name in ("inner", "outward"):
            self._talks_on(name)
        assert "remember42" in typed(self._site, "shell", "echo $X\\n", until="remember42")

    def _talks_on(self, name: str) -> None:
        before = self._logged(name)["requests"]
        self._site.wait_for(lambda: self._logged(name)["requests"] > before + 5)
        now = self._logged(name)
        assert (now["connects"], now["resets"], now["ends"], now["wrong"]) == (1, 0, 0, 0)

    def _logged(self, name: str) -> dict[str, int]:
        found: dict[str, int] = json.loads(self._site.machine.succeed(f"docker logs --tail 1 {name}"))
        return found


def versions(site: Site) -> tuple[str, str]:
    """The major version of the engine that runs, and CRIU's."""
    engine = site.machine.succeed("docker version -f '{{.Server.Version}}'").split(".")[0]
    criu = site.machine.succeed("criu --version").split()[1]
    return engine, criu


@contextlib.contextmanager
def prepared(machine: LocalMachine, package: Path, packages: tuple[str, ...]) -> Iterator[Site]:
    """A host with guardian, whose apt has the newer packages at hand."""
    try:
        fetch(machine, packages)
        with machine:
            site = Site(machine)
            site.install(package)
            yield site
            print(site.told())
    finally:
        machine.close()


def test_the_engine_is_upgraded_under_running_containers(package: Path) -> None:
    """The old runc's state is dumped by the new one; then a reboot on top."""
    with prepared(ContainerHost("trixie"), package, ENGINE) as site, contextlib.ExitStack() as stack:
        assert versions(site)[0] == "26"
        workload = Workload(site, stack)
        stack.enter_context(no_resets(site))
        site.restart_docker()
        workload.goes_on()  # from here on under holders
        upgrade(site.machine, ENGINE)
        site.restart_docker()
        assert versions(site)[0] == "28"
        workload.goes_on()
        site.reboot()
        workload.goes_on()


def test_an_image_of_the_old_criu_is_restored_by_the_new_one(package: Path) -> None:
    """In the virtual machine: CRIU 4.1.1 dumps under Docker 26, 4.2.1 restores under 28, on Debian 13's kernel."""
    with prepared(VirtualMachine(), package, (*ENGINE, *CRIU)) as site, contextlib.ExitStack() as stack:
        assert versions(site) == ("26", "4.1.1")
        workload = Workload(site, stack)
        stack.enter_context(no_resets(site))
        site.machine.succeed("guardianctl checkpoint", timeout=300)
        upgrade(site.machine, (*ENGINE, *CRIU))
        site.restart_docker()
        assert versions(site) == ("28", "4.2.1")
        workload.goes_on()
        site.reboot()
        workload.goes_on()


def repacked(site: Site, version: str, package: str = "guardian.deb") -> None:
    """A package of /root under another version, installed over the one that is there."""
    site.machine.succeed(
        f"cd /root && rm -rf other && dpkg-deb -R {package} other"
        f" && sed -i 's/^Version:.*/Version: {version}/' other/DEBIAN/control && dpkg-deb -b other other.deb"
        " && apt-get install --yes --allow-downgrades /root/other.deb",
        timeout=120,
    )
    site.machine.wait_until_succeeds("guardianctl status")


@pytest.mark.parametrize("suite", ["forky", "trixie"])
def test_guardian_itself_is_upgraded_and_downgraded_in_between(package: Path, suite: str) -> None:
    with ContainerHost(suite) as host, contextlib.ExitStack() as stack:
        site = Site(host)
        site.install(package)
        workload = Workload(site, stack)
        stack.enter_context(no_resets(site))
        for version in ("9.0", "0.0.1"):
            host.succeed("guardianctl checkpoint")
            repacked(site, version)
            host.succeed("guardianctl restore")
            workload.goes_on()
            repacked(site, "0.1.0")  # holders of the other version live on
            site.restart_docker()
            workload.goes_on()


def built(commit: str, folder: Path) -> Path:
    """The package of an older commit, from this repository's history."""
    git = ["git", "-C", str(_REPOSITORY)]
    if subprocess.run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], check=False).returncode:
        pytest.skip(f"this checkout's history does not reach back to {commit}")
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run([*git, "archive", commit], check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", source], check=True, input=archive.stdout)
    subprocess.run([source / "packaging" / "build.sh", folder], check=True, timeout=300)
    return next(folder.glob("*.deb"))


@pytest.mark.parametrize("age", OLDER)
def test_checkpoints_and_holders_of_an_older_guardian(package: Path, age: str, tmp_path: Path) -> None:
    """What an older guardian has saved is resumed by today's; what runs under its holders is saved and resumed."""
    older = built(OLDER[age], tmp_path)
    with ContainerHost("forky") as host, contextlib.ExitStack() as stack:
        site = Site(host)
        site.install(older)
        stack.callback(lambda: print(site.told()))
        host.copy_to(package, "/root/new.deb")
        names = ("saved", "policy", "on")
        before = {name: site.redis(name, "--restart always" if name == "policy" else "") for name in names}
        site.restart_docker()
        assert {name: site.outcome(name) for name in names} == dict.fromkeys(names, "resumed")
        host.succeed("guardianctl checkpoint saved policy")
        repacked(site, "9.0", "new.deb")
        assert site.seen_in("on") == before["on"], "its holder is the older one's and lives on"
        host.succeed("guardianctl restore")
        _all_resumed(site, before)
        site.reboot()
        _all_resumed(site, before)


def _all_resumed(site: Site, before: dict[str, Redis]) -> None:
    told = {name: (site.outcome(name), site.reason(name)) for name in before}
    assert told == dict.fromkeys(before, ("resumed", ""))
    assert {name: site.seen_in(name) for name in before} == before
