"""A host with guardian on it, in the words of its administrator."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.machines.local import LocalMachine

_PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
_CONFIGURATION = Path("/etc/guardian/guardian.toml")
_KEPT = Path("/root/guardian.toml.kept")
REDIS = "redis-server --save '' --enable-debug-command yes"
COUNTER = """\
import os, time
token = os.urandom(8).hex()
n = 0
while True:
    n += 1
    try:
        for name, text in (("token", token), ("n", str(n))):
            with open("/data/new", "w") as file:
                file.write(text)
            os.rename("/data/new", f"/data/{name}")
    except OSError:
        pass  # a full disk is for guardian to stand
    time.sleep(0.02)
"""


@dataclasses.dataclass(frozen=True)
class Redis:
    """What tells one redis process from another."""

    run_id: str
    value: str


class Site:
    """One host and what a test does on it."""

    def __init__(self, machine: LocalMachine) -> None:
        self.machine = machine
        self.network = machine.network

    def install(self, package: Path) -> None:
        """Install the package with apt, as a user would."""
        self.machine.wait_for_docker()
        self.machine.copy_to(package, "/root/guardian.deb")
        self.machine.succeed("apt-get install --yes --no-install-recommends /root/guardian.deb", timeout=120)
        self.machine.wait_until_succeeds("guardianctl status")

    def use_containerds_image_store(self) -> None:
        """What Docker 29 has by default: images and layers are containerd's."""
        self.machine.wait_for_docker()
        self.machine.succeed("docker save -o /root/work.tar work:1")
        self.set_up_daemon({"features": {"containerd-snapshotter": True}})
        self.machine.succeed("systemctl restart docker && docker load -i /root/work.tar && rm /root/work.tar")

    def set_up_daemon(self, settings: dict[str, Any]) -> str:
        """Add settings to daemon.json, without a restart; returns what it was before."""
        file = "/etc/docker/daemon.json"
        self.machine.succeed(f"mkdir -p /etc/docker; test -e {file} || echo '{{}}' >{file}")
        before = self.machine.read(file)
        self.machine.write(file, json.dumps(json.loads(before) | settings))
        return before

    def set_up_guardian(self, text: str) -> None:
        """Have guardian work by this guardian.toml, until the test's end."""
        self.machine.succeed(f"test -e {_KEPT} || cp {_CONFIGURATION} {_KEPT}")
        self.machine.write(str(_CONFIGURATION), text)
        self.machine.succeed("systemctl restart guardian-worker")
        self.machine.wait_until_succeeds("guardianctl list")

    def clean(self) -> None:
        """Away with what an earlier test left."""
        self.machine.succeed(
            f"! test -e {_KEPT} || {{ mv {_KEPT} {_CONFIGURATION} && systemctl restart guardian-worker; }}"
        )
        self.machine.succeed(
            "systemctl reset-failed; systemctl start docker.service; systemctl unmask --runtime docker.service;"
            "rm -f /run/guardian/holds/* /run/guardian/tickets/*; docker ps -aq | xargs -r docker rm -f;"
            "docker network prune -f; docker volume prune -af;"
            # Once more where the worker was writing into one.
            "rm -rf /var/lib/guardian/checkpoints/* || rm -rf /var/lib/guardian/checkpoints/*"
        )
        # What peers still have to say to containers that are gone would be answered with resets.
        self.network.peer_exec(["ss", "--kill", "--tcp", "--all"])

    def run(self, name: str, command: str, *options: str, guarded: bool = True) -> str:
        """Start a container of the test image; returns its id."""
        label = "--label guardian.enable=true " if guarded else ""
        return self.machine.succeed(
            f"docker run -d --stop-timeout 2 --name {name} {label}{' '.join(options)} work:1 {command}"
        ).strip()

    def redis(self, name: str, *options: str, value: str = "42", guarded: bool = True) -> Redis:
        """Start a redis that holds a value only in memory."""
        self.run(name, REDIS, *options, guarded=guarded)
        self.machine.wait_until_succeeds(f"docker exec {name} redis-cli ping")
        self.machine.succeed(f"docker exec {name} redis-cli set value {value}")
        return self.seen_in(name)

    def counter(self, name: str, *options: str, volume: str = "data") -> None:
        """Start a counter: its state is in memory, a copy in a volume: `n`, and `token`, which only it knows."""
        self.machine.write("/root/counter.py", COUNTER)
        mounts = f"-v {volume}:/data", "-v /root/counter.py:/counter.py:ro"
        self.run(name, "python3 -u /counter.py", *mounts, *options)

    def program(self, name: str, program: str, *options: str, guarded: bool = True) -> None:
        """Start a container that runs one of tests/programs ("server 80"), once it is at it."""
        file, _, arguments = program.partition(" ")
        self.machine.copy_to(_PROGRAMS / f"{file}.py", f"/root/{file}.py")
        mount = f"-v /root/{file}.py:/{file}.py:ro"
        self.run(name, f"python3 -u /{file}.py {arguments}", mount, *options, guarded=guarded)
        if file in ("server", "slow", "stream", "witness"):
            self.machine.wait_until_succeeds(
                f"docker exec {name} grep -q ' 0A ' /proc/net/tcp /proc/net/tcp6"
            )

    def seen_in(self, name: str) -> Redis:
        """The redis as it is now."""
        told = self.machine.succeed(
            f"docker exec {name} redis-cli info server; docker exec {name} redis-cli get value"
        )
        run_id = next(line for line in told.splitlines() if line.startswith("run_id:")).strip()
        return Redis(run_id, told.strip().splitlines()[-1])

    def inspect(self, name: str, template: str) -> str:
        """`docker inspect -f`."""
        return self.machine.succeed(f"docker inspect -f '{template}' {name}").strip()

    def list(self) -> dict[str, dict[str, Any]]:
        """`guardianctl list --json`, by name."""
        found = json.loads(self.machine.succeed("guardianctl list --json"))
        return {item["name"]: item for item in found}

    def outcome(self, name: str) -> str:
        """What became of the container at the last restore."""
        last = self.list()[name]["last"]
        return "" if last is None else str(last["outcome"])

    def reason(self, name: str) -> str:
        """Why it did not simply resume."""
        return str(self.list()[name]["last"]["reason"])

    def wait_restored(self) -> None:
        """Wait until the restore after a boot or a start of docker is over."""
        self.machine.wait_for_docker()
        self.machine.wait_until_succeeds(
            "systemctl is-active docker.service && "
            "[ $(systemctl show -P ActiveState guardian-restore.service) = inactive ] && "
            "[ $(systemctl show -P ExecMainExitTimestampMonotonic guardian-restore.service) -gt "
            "$(systemctl show -P ExecMainStartTimestampMonotonic docker.service) ]"
        )

    def restart_docker(self) -> None:
        """`systemctl restart docker`, until everything is back."""
        self.machine.succeed(
            "systemctl reset-failed docker.service; systemctl restart docker.service", timeout=180
        )
        self.wait_restored()

    def kill_docker(self) -> None:
        """SIGKILL of dockerd, until systemd has brought it up again and everything is back."""
        before = self.machine.succeed("systemctl show -P MainPID docker.service").strip()
        self.machine.succeed(f"systemctl reset-failed docker.service; kill -KILL {before}")
        self.machine.wait_until_succeeds(
            f"[ $(systemctl show -P MainPID docker.service) -ne 0 ] && [ $(systemctl show -P MainPID docker.service)"
            f" -ne {before} ] && systemctl is-active docker.service"
        )
        self.wait_restored()

    def reboot(self) -> None:
        """`systemctl reboot`, until everything is back."""
        self.machine.reboot()
        self.wait_restored()

    def poweroff(self) -> None:
        """`systemctl poweroff`, switch on again, until everything is back."""
        self.machine.poweroff()
        self.machine.start()
        self.wait_restored()

    def stop_docker(self) -> None:
        """`systemctl stop docker`, then start it, until everything is back."""
        self.machine.succeed("systemctl stop docker.service docker.socket", timeout=180)
        self.machine.succeed(
            "systemctl reset-failed docker.service; systemctl start docker.service", timeout=180
        )
        self.wait_restored()

    def wait_for(self, what: Callable[[], bool], *, timeout: float = 90.0) -> None:
        """Wait until something is true that only asking can tell."""
        end = time.monotonic() + timeout * self.machine.slowness
        while not what():
            assert time.monotonic() < end, "it did not become true in time"
            time.sleep(0.1)

    def told(self) -> str:
        """What guardian and docker say, for a failed test."""
        return self.machine.execute(
            "journalctl --no-pager -n 400 -u 'guardian-*' -u docker.service"
            " | grep -vE 'level=(info|warning)|pids.max|Succeeded' | cut -c1-900"
        )[1]
