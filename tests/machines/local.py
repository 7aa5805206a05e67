"""What the kinds of machine on this computer have in common: a record, a disk image, a network, one process."""

from __future__ import annotations

import abc
import contextlib
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import disk
from .commands import File, Result, run
from .errors import MachineError, TimedOut
from .leftovers import Record
from .machine import Machine
from .network import Network

SHUTDOWN_TIMEOUT = 180.0


class LocalMachine(Machine):
    """A machine that is one process of this computer, alone on a network of its own unless it is given one."""

    def __init__(self, kind: str, network: Network | None) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._record = Record.new(kind)
        self._stack = contextlib.ExitStack()
        self._stack.callback(self._record.remove)
        self.name = self._record.name
        self.folder = self._record.folder
        self.console = self.folder / "console.log"
        self.root = self.folder / "root"
        with self._closed_on_error():
            self.network = network or self._stack.enter_context(Network())
            self._address = self.network.new_address()

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    @property
    @abc.abstractmethod
    def _mount(self) -> str:
        """The shell command that mounts the disk at `self.root`."""

    @property
    def address(self) -> str:
        """The address on the network, the same after each boot."""
        return self._address

    @property
    def is_up(self) -> bool:
        """Whether the machine's process runs."""
        return self._process is not None and self._process.poll() is None

    def wait_until_off(self) -> None:
        """Wait until the machine's process has ended, whoever ends it."""
        if self._process is not None:
            self._process.wait()

    def offline(self, command: str, *, timeout: float = 60) -> str:
        """Run a shell command of this computer while the machine is off, its disk mounted at $ROOT.

        Raises `MachineError` when the machine is on, `CommandFailed`.
        """
        if self.is_up:
            raise MachineError(f"{self.name} is on")
        disk.wait_until_detached(self.folder)
        script = f"{self._mount} && export ROOT={shlex.quote(str(self.root))} && {{ {command}\n}}"
        argv = ["unshare", "--mount", "sh", "-c", script]
        return run(argv, timeout=timeout, shown_as=command, where=f"disk of {self.name}").stdout

    def _write_offline(self, files: dict[str, str]) -> None:
        """Write text files (by path in the root) to the disk of a machine that is off."""
        lines = [f"printf %s {shlex.quote(text)} >$ROOT/{path}" for path, text in files.items()]
        self.offline(" && ".join(lines))

    def _identity(self) -> dict[str, str]:
        """The files that tell a machine its name."""
        return {
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n{self.address} {self.name}\n",
        }

    def poweroff(self, *, timeout: float | None = None) -> None:
        """`systemctl poweroff` inside; waits for the end."""
        said = self.run("systemctl poweroff")
        self.wait_for_shutdown(timeout=timeout, said=said)

    def wait_for_shutdown(self, *, timeout: float | None = None, said: Result | None = None) -> int:
        """Wait until the machine is off, whoever began that; the status of its process. Raises `TimedOut`."""
        if self._process is None:
            raise MachineError(f"{self.name} was never on")
        limit = SHUTDOWN_TIMEOUT * self.slowness if timeout is None else timeout
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            jobs = self.execute("systemctl list-jobs --no-pager")[1]
            raise TimedOut(
                f"{self.name} not down within {limit:g} s; {said}\n{jobs}\n{self.left_running()}"
            ) from None

    def left_running(self) -> str:
        """What runs in the machine, for whoever looks why it does not go down; empty where that cannot be seen."""
        return ""

    def close(self) -> None:
        """Kill the machine and remove all it consisted of."""
        self._stack.close()
        if self._process is not None:
            self._process.wait()

    def console_text(self) -> str:
        """What the machine wrote to its console."""
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def full_journal(self) -> str:
        """The journal of all boots, whether the machine is on or off, with what power cuts made it lose."""
        self._save_journal()
        argv = ["journalctl", f"--file={self.folder}/journal-*/*/*.journal*"]
        return run([*argv, "--no-pager", "--output=short-precise"], timeout=60).stdout

    def _save_journal(self) -> None:
        """Copy the journal's files as they are now out of the machine's reach."""
        number = sum(1 for _ in self.folder.glob("journal-*"))
        target = self.folder / f"journal-{number}"
        if self.is_up:
            self._copy_journal(target)
        else:
            self.offline(f'cp -a "$ROOT/var/log/journal" {shlex.quote(str(target))}')

    @abc.abstractmethod
    def _copy_journal(self, target: Path) -> None:
        """Copy the journal's files out of a running machine."""

    def peer_exec(self, argv: Sequence[str], *, timeout: float = 60, check: bool = True) -> Result:
        """Run a program of this computer outside the machine, on its network. Raises `CommandFailed`."""
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
        """A program of this computer outside the machine, on its network, for as long as the block lasts."""
        with self.network.peer_popen(argv, stdin=stdin, stdout=stdout, stderr=stderr) as process:
            yield process
