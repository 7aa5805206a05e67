"""A container host: a Debian with systemd and docker that systemd-nspawn boots on the kernel of this machine."""

from __future__ import annotations

import os
import select
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from . import cache, cgroups, disk, roots
from .commands import interrupts_later, run
from .errors import MachineError, TimedOut
from .leftovers import Process
from .local import LocalMachine
from .network import BRIDGE, PREFIX, Network

BOOT_TIMEOUT = 300.0
ENVIRONMENT = {
    # With nspawn's seccomp filter no `docker run` works, and no dump by a CRIU that a unit started.
    "SYSTEMD_SECCOMP": "0",
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
}
INSIDE = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=xterm")
STATUS_AFTER_REBOOT = 133


class ContainerHost(LocalMachine):
    """A clone of a cached root, alone on a network of its own unless `network` gives one to share.

    A crash here loses what was not written to the disk yet, as a power cut does.
    """

    def __init__(
        self, suite: str = "forky", *, network: Network | None = None, in_place: Path | None = None
    ) -> None:
        """A new clone of a suite's root; or the root `in_place` itself: what is written stays there."""
        cache.require_commands({"systemd-nspawn": "systemd-container", "nsenter": "util-linux"})
        _refuse_chroot()
        self._base = None if in_place else self.base(suite)
        self._leader: Process | None = None
        super().__init__("host", network)
        with self._closed_on_error():
            # nspawn mirrors our cgroup into a version 1 hierarchy of systemd's where there is one.
            self._cgroups = [mount / f"guardian-test-{self.name}" for mount in cgroups.mounts()]
            self._record.add_cgroups(*self._cgroups)
            self._record.add_folder(Path("/run/systemd/nspawn/propagate", self.name))
            if self._base:
                disk.clone(self._base, self.folder)
            self.root = in_place or self.root
            lines = (f"ADDRESS={self.address}", f"PREFIX={PREFIX}", f"GATEWAY={self.network.gateway}\n")
            self._write_offline({"etc/guardian-test-host": "\n".join(lines), **self._identity()})

    @classmethod
    def base(cls, suite: str) -> Path:
        """What hosts of a suite are cloned from; built when it is not there (minutes)."""
        return roots.container_host(suite, boot_in_place)

    @property
    def _mount(self) -> str:
        return disk.mount_command(self._base, self.folder) if self._base else ":"

    @property
    def init(self) -> int:
        """The process id of the host's systemd on this computer. Raises `MachineError` when the host is off."""
        if not self.is_up or self._leader is None:
            raise MachineError(f"{self.name} is off")
        return self._leader.pid

    def enter(self, argv: Sequence[str]) -> list[str]:
        """nsenter with every namespace of the host's systemd."""
        return [
            *("nsenter", f"--target={self.init}", "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"),
            *("env", "-i", *INSIDE, *argv),
        ]

    def shell_hint(self) -> str:
        """The nsenter command for a person."""
        return shlex.join(self.enter(["bash", "-l"]))

    def start(self) -> None:
        """Boot and wait until systemd says that it is ready; 1 to 2 seconds."""
        if self.is_up:
            return
        disk.wait_until_detached(self.folder)
        for cgroup in self._cgroups:
            cgroups.remove(cgroup)  # a machine that boots finds no cgroups of the boot before
        self._cgroups[0].mkdir()
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self.console.open("ab") as console:
            notify.bind(str(path))
            with interrupts_later():
                self._process = subprocess.Popen(
                    self._nspawn_argv(),
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    env=os.environ | ENVIRONMENT | {"NOTIFY_SOCKET": str(path)},
                    start_new_session=True,
                )
                self._record.add_process(self._process.pid)
            self._wait_for_boot(notify)

    def _nspawn_argv(self) -> list[str]:
        join = f'echo $$ >"$0/cgroup.procs" && {self._mount} && exec "$@"'
        return [
            *("nsenter", f"--net={self.network.path}", "unshare", "--mount"),
            *("sh", "-c", join, str(self._cgroups[0])),
            *("systemd-nspawn", f"--directory={self.root}", f"--machine={self.name}", "--boot"),
            *("--register=no", "--keep-unit", "--notify-ready=yes", "--capability=all"),
            *(f"--network-bridge={BRIDGE}", "--link-journal=no", "--console=pipe"),
        ]

    def _wait_for_boot(self, notify: socket.socket) -> None:
        """Read nspawn's messages until systemd in the host is ready. Raises `MachineError`, `TimedOut`."""
        assert self._process is not None
        deadline = time.monotonic() + BOOT_TIMEOUT
        ended = os.pidfd_open(self._process.pid)
        try:
            while True:
                left = max(deadline - time.monotonic(), 0)
                ready, _, _ = select.select([notify.fileno(), ended], [], [], left)
                if ended in ready:
                    raise MachineError(f"{self.name} does not boot:\n{self.console_text()}")
                if not ready:
                    raise TimedOut(f"{self.name} not booted within {BOOT_TIMEOUT:g} s:\n{self._jobs()}")
                lines = notify.recv(65536).decode().splitlines()
                message = dict(line.partition("=")[::2] for line in lines)
                if "X_NSPAWN_LEADER_PID" in message:
                    self._leader = self._record.add_process(int(message["X_NSPAWN_LEADER_PID"]))
                if message.get("READY") == "1":
                    return
        finally:
            os.close(ended)

    def _jobs(self) -> str:
        return self.execute("systemctl list-jobs --no-pager")[1] if self._leader else "systemd did not start"

    def reboot(self, *, timeout: float | None = None) -> None:
        """`systemctl reboot` inside; boots again once nspawn has ended."""
        said = self.run("systemctl reboot")
        status = self.wait_for_shutdown(timeout=timeout, said=said)
        if status != STATUS_AFTER_REBOOT:
            raise MachineError(f"{self.name}: nspawn ended with {status}: no reboot; {said}")
        self.start()
        self.wait_for_docker()

    def left_running(self) -> str:
        """Its processes, by their cgroups."""
        return cgroups.processes(self._cgroups[0])

    def crash(self) -> None:
        """A power cut: every process stands still, what the disk has not got is lost, then all are killed."""
        assert self._process is not None
        init = self.init
        cgroups.freeze(self._cgroups[0] / "payload")  # beside it nspawn itself
        self._save_journal()
        disk.cut_power(Path(f"/proc/{init}/root"))
        os.kill(init, signal.SIGKILL)
        self._process.wait(30)

    def _copy_journal(self, target: Path) -> None:
        run(["cp", "-a", f"/proc/{self.init}/root/var/log/journal", str(target)], timeout=60)


def boot_in_place(root: Path) -> ContainerHost:
    """The host that writes into a root which is being built."""
    return ContainerHost(in_place=root)


def _refuse_chroot() -> None:
    """In a chroot, whatever enters a namespace of a test host by setns(2) gets the root outside of it (seen)."""
    look = ["stat", "--format=%d:%i", "/"]
    entered = run(["nsenter", "--mount=/proc/self/ns/mnt", *look], timeout=10).stdout
    if entered != run(look, timeout=10).stdout:
        raise MachineError("test hosts cannot run in a chroot: give it a mount namespace and pivot_root(2)")
