"""Tries a machine for what the tests rely on: `docker run`, a real dump, a peer, reboot, power cut, no traces."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import cache, cgroups
from .commands import run
from .errors import MachineError
from .local import LocalMachine
from .nspawn import ContainerHost

FOLDERS = (cache.folder("run"), Path("/run/systemd/nspawn/propagate"))
DUMP = """\
set -e
id=$(docker inspect --format '{{.Id}}' redis)
runc --root /run/docker/runtime-runc/moby checkpoint --tcp-established \
    --image-path /root/dump --work-path /root/dump.work "$id" || { tail -20 /root/dump.work/dump.log >&2; exit 1; }
test -s /root/dump/pages-1.img
tail -1 /root/dump.work/dump.log
"""
PEER = """\
import socket, sys
connection = socket.create_connection((sys.argv[1], 6379), timeout=10)
connection.sendall(b"PING\\r\\n")
print(connection.recv(100).decode().strip(), flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:6.2f} s  {what}", flush=True)


def _check(fact: bool, what: str) -> None:
    if not fact:
        raise MachineError(f"smoke: {what}")


def _try_containers(machine: LocalMachine) -> None:
    """A container as another user, dumped for real."""
    with _step("docker run, redis answers"):
        machine.succeed("docker run -d --name redis --user 65534 -p 6379:6379 work:1 redis-server --save ''")
        machine.wait_until_succeeds("docker exec redis redis-cli ping | grep PONG")
    with _step("runc checkpoint in a unit"):
        said = machine.succeed(DUMP, unit=True)
        _check("Dumping finished successfully" in said, f"no dump: {said}")
    machine.succeed("docker rm --force redis")


def _try_life(machine: LocalMachine) -> None:
    """Reboot, power cut, shutdown."""
    boots = [machine.boot_id()]
    with _step("reboot, docker answers"):
        machine.reboot()
    boots.append(machine.boot_id())
    machine.succeed("echo kept >/var/kept && sync /var/kept && echo lost >/var/lost")
    with _step("power cut"):
        machine.crash()
    with _step("start after the power cut, docker answers"):
        machine.start()
        machine.wait_for_docker()
    boots.append(machine.boot_id())
    _check(len(set(boots)) == 3, f"boots are not told apart: {boots}")
    _check(machine.read("/var/kept") == "kept\n", "a synced file is lost")
    lost = machine.execute("cat /var/lost")[1]
    _check(lost != "lost\n", "what was never written outlived the power cut")
    _check(bool(machine.journal(boot=-2, unit="docker.service")), "no journal of the first boot")
    with _step("poweroff"):
        machine.poweroff()
    # A virtual machine's own journal of the cut boot may be lost with what else it had not written.
    boots_told = machine.full_journal().count("Started docker.service")
    _check(boots_told >= (3 if isinstance(machine, ContainerHost) else 2), f"a journal of {boots_told} boots")


def _try_peer(host: LocalMachine) -> None:
    """A peer outside reaches a published port."""
    argv = [sys.executable, "-c", PEER, host.address]
    host.succeed("docker run -d --rm --name redis -p 6379:6379 work:1 redis-server --protected-mode no")
    host.wait_until_succeeds("docker exec redis redis-cli ping | grep PONG")
    with (
        _step("a peer outside"),
        host.peer_popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer,
    ):
        assert peer.stdout is not None
        _check(peer.stdout.readline() == b"+PONG\n", "the peer got no answer")
    host.succeed("docker rm --force redis")


def _traces(name: str) -> list[str]:
    """What of a machine is still on this computer."""
    sources = {
        "mount": Path("/proc/self/mountinfo").read_text().splitlines(),
        "link": run(["ip", "-o", "link"], timeout=10).stdout.splitlines(),
        "loop device": run(["losetup", "--list", "--noheadings"], timeout=10).stdout.splitlines(),
        "process": list(_command_lines()),
        "cgroup": [str(path) for mount in cgroups.mounts() for path in mount.glob("guardian-test-*")],
        "folder": [str(path) for folder in FOLDERS for path in folder.glob("*")],
    }
    return [
        f"{kind}: {line}"
        for kind, lines in sources.items()
        for line in lines
        if re.search(rf"\b{name}\b", line)
    ]


def _command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def smoke(make: Callable[[], LocalMachine]) -> None:
    """Try one machine. Raises `MachineError` or `CommandFailed` at the first thing that is not as it should be."""
    with _step("all"):
        with _step("clone"):
            machine = make()
        with contextlib.closing(machine):
            with _step("boot, systemd settled"):
                machine.start()
            with _step("docker answers"):
                machine.wait_for_docker()
            machine.write("/root/folder/text", "some text\n", mode=0o600)
            _check(machine.read("/root/folder/text") == "some text\n", "write and read")
            _try_peer(machine)
            _try_containers(machine)
            _try_life(machine)
    left = _traces(machine.name)
    _check(not left, "left behind:\n" + "\n".join(left))
