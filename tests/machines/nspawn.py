"""A container host: a Debian with systemd and docker that systemd-nspawn boots on the kernel of this machine."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from . import cache, cgroups, disk, roots
from .commands import File, Result, run
from .errors import MachineError, TimedOut
from .leftovers import Process, Record
from .machine import Machine
from .network import PREFIX, Network

BOOT_TIMEOUT = 90.0
SHUTDOWN_TIMEOUT = 180.0
ENVIRONMENT = {
    # With nspawn's seccomp filter no `docker run` works, and no dump by a CRIU that a unit started.
    "SYSTEMD_SECCOMP": "0",
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
}
INSIDE = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=xterm")
STATUS_AFTER_REBOOT = 133


class ContainerHost(Machine):
    """A clone of a cached root, alone on a network of its own unless `network` gives one to share.

    A crash here loses what was not written to the disk yet, as a power cut does.
    """

    def __init__(self, suite: str = "forky", *, network: Network | None = None) -> None:
        self._prepare(self.base(suite), clone=True, network=network)

    @classmethod
    def base(cls, suite: str) -> Path:
        """What hosts of a suite are cloned from; built when it is not there (minutes)."""
        return roots.container_host(suite, cls.on_root)

    @classmethod
    def on_root(cls, root: Path) -> Self:
        """A host on that very root instead of a clone: what it writes stays there."""
        host = cls.__new__(cls)
        host._prepare(root, clone=False, network=None)
        return host

    def _prepare(self, root: Path, *, clone: bool, network: Network | None) -> None:
        cache.require_commands({"systemd-nspawn": "systemd-container", "nsenter": "util-linux"})
        self._stack = contextlib.ExitStack()
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader: Process | None = None
        self._record = Record.new("host")
        self._stack.callback(self._record.remove)
        try:
            self.name = self._record.name
            self.network = network or self._stack.enter_context(Network())
            self._address = self.network.new_address()
            self.root = root
            self._mount = ":"
            if clone:
                disk.clone(root, self._record.folder)
                self.root = self._record.folder / "root"
                self._mount = disk.mount_command(root, self._record.folder)
            # nspawn mirrors our cgroup into a version 1 hierarchy of systemd's where there is one.
            self._cgroups = [mount / f"guardian-test-{self.name}" for mount in cgroups.mounts()]
            self._record.add_cgroups(*self._cgroups)
            self._record.add_folder(Path("/run/systemd/nspawn/propagate", self.name))
            self.console = self._record.folder / "console.log"
            self._configure()
        except BaseException:
            self.close()
            raise

    def _configure(self) -> None:
        files = {
            "etc/guardian-test-host": f"ADDRESS={self.address}\nPREFIX={PREFIX}\nGATEWAY={self.network.gateway}\n",
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n{self.address} {self.name}\n",
        }
        self.offline(
            " && ".join(f"printf %s {shlex.quote(text)} >$ROOT/{path}" for path, text in files.items())
        )

    def offline(self, command: str, *, timeout: float = 60) -> str:
        """Run a shell command of this computer while the host is off, its disk mounted at $ROOT.

        Raises `MachineError` when the host is on, `CommandFailed`.
        """
        if self.is_up:
            raise MachineError(f"{self.name} is on")
        disk.wait_until_detached(self._record.folder)
        script = f"{self._mount} && export ROOT={shlex.quote(str(self.root))} && {{ {command}\n}}"
        argv = ["unshare", "--mount", "sh", "-c", script]
        return run(argv, timeout=timeout, shown_as=command, where=f"disk of {self.name}").stdout

    @property
    def address(self) -> str:
        """The address on the network, the same after each boot."""
        return self._address

    @property
    def is_up(self) -> bool:
        """Whether nspawn runs."""
        return self._nspawn is not None and self._nspawn.poll() is None

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
        disk.wait_until_detached(self._record.folder)
        for cgroup in self._cgroups:
            cgroups.remove(cgroup)  # a machine that boots finds no cgroups of the boot before
        self._cgroups[0].mkdir()
        path = self._record.folder / "notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self.console.open("ab") as console:
            notify.bind(str(path))
            self._nspawn = subprocess.Popen(
                self._nspawn_argv(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=os.environ | ENVIRONMENT | {"NOTIFY_SOCKET": str(path)},
                start_new_session=True,
            )
            self._record.add_process(self._nspawn.pid)
            self._wait_for_boot(notify)

    def _nspawn_argv(self) -> list[str]:
        join = f'echo $$ >"$0/cgroup.procs" && {self._mount} && exec "$@"'
        return [
            *("nsenter", f"--net={self.network.path}", "unshare", "--mount"),
            *("sh", "-c", join, str(self._cgroups[0])),
            *("systemd-nspawn", f"--directory={self.root}", f"--machine={self.name}", "--boot"),
            *("--register=no", "--keep-unit", "--notify-ready=yes", "--capability=all"),
            *("--network-bridge=br0", "--link-journal=no", "--console=pipe"),
        ]

    def _wait_for_boot(self, notify: socket.socket) -> None:
        """Read nspawn's messages until systemd in the host is ready. Raises `MachineError`, `TimedOut`."""
        assert self._nspawn is not None
        deadline = time.monotonic() + BOOT_TIMEOUT
        ended = os.pidfd_open(self._nspawn.pid)
        try:
            while True:
                left = max(deadline - time.monotonic(), 0)
                ready, _, _ = select.select([notify.fileno(), ended], [], [], left)
                if ended in ready:
                    raise MachineError(
                        f"{self.name} does not boot:\n{self.console.read_text(errors='replace')}"
                    )
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

    def poweroff(self, *, timeout: float | None = None) -> None:
        """`systemctl poweroff` inside; waits for the end of nspawn."""
        self._shut_down("poweroff", 0, timeout)

    def reboot(self, *, timeout: float | None = None) -> None:
        """`systemctl reboot` inside; boots again once nspawn has ended."""
        self._shut_down("reboot", STATUS_AFTER_REBOOT, timeout)
        self.start()
        self.wait_for_docker()

    def _shut_down(self, verb: str, expected: int, timeout: float | None) -> None:
        said = self.run(f"systemctl {verb}")
        self.wait_for_shutdown(timeout=timeout, expected=expected, said=said)

    def wait_for_shutdown(
        self, *, timeout: float | None = None, expected: int | None = None, said: Result | None = None
    ) -> int:
        """Wait until the host is off, whoever began that; nspawn's status. Raises `TimedOut`, `MachineError`."""
        assert self._nspawn is not None
        limit = SHUTDOWN_TIMEOUT if timeout is None else timeout
        try:
            status = self._nspawn.wait(limit)
        except subprocess.TimeoutExpired:
            raise TimedOut(f"{self.name} not down within {limit:g} s; {said}\n{self._jobs()}") from None
        if expected is not None and status != expected:
            raise MachineError(f"{self.name}: nspawn ended with {status}, not {expected}; {said}")
        return status

    def crash(self) -> None:
        """A power cut: every process stands still, what the disk has not got is lost, then all are killed."""
        assert self._nspawn is not None
        init = self.init
        cgroups.freeze(self._cgroups[0] / "payload")  # beside it nspawn itself
        self._save_journal()
        disk.cut_power(Path(f"/proc/{init}/root"))
        os.kill(init, signal.SIGKILL)
        self._nspawn.wait(30)

    def close(self) -> None:
        """Kill the host and remove clone, network, cgroup."""
        self._stack.close()
        if self._nspawn is not None:
            self._nspawn.wait()

    def full_journal(self) -> str:
        """The journal of all boots, whether the host is on or off, with what power cuts made it lose."""
        self._save_journal()
        argv = ["journalctl", f"--file={self._record.folder}/journal-*/*/*.journal"]
        return run([*argv, "--no-pager", "--output=short-precise"], timeout=60).stdout

    def _save_journal(self) -> None:
        """Copy the journal's files as they are now out of the host's reach."""
        number = sum(1 for _ in self._record.folder.glob("journal-*"))
        target = self._record.folder / f"journal-{number}"
        if self.is_up:
            run(["cp", "-a", f"/proc/{self.init}/root/var/log/journal", str(target)], timeout=60)
        else:
            self.offline(f'cp -a "$ROOT/var/log/journal" {shlex.quote(str(target))}')

    def peer_exec(self, argv: Sequence[str], *, timeout: float = 60, check: bool = True) -> Result:
        """Run a program of this computer outside the host, on its network. Raises `CommandFailed`."""
        return self.network.peer_exec(argv, timeout=timeout, check=check)

    @contextlib.contextmanager
    def peer_popen(
        self,
        argv: Sequence[str],
        *,
        stdin: File = subprocess.DEVNULL,
        stdout: File = None,
        stderr: File = None,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A program of this computer outside the host, on its network, for as long as the block lasts."""
        with self.network.peer_popen(argv, stdin=stdin, stdout=stdout, stderr=stderr) as process:
            yield process
