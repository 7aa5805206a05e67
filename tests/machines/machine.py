"""What a test can do with a machine, whatever the machine is made of.

The model is the NixOS test driver: a test reads like an operator's session.

    with ContainerHost() as host:
        host.succeed("docker run -d --name redis work:1 redis-server")
        host.reboot()
        host.wait_until_succeeds("docker exec redis redis-cli ping")
"""

from __future__ import annotations

import abc
import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .commands import POLL, File, Result, run, started, wait_until
from .errors import CommandFailed, MachineError

COMMAND_TIMEOUT = 120.0


class Machine(abc.ABC):
    """A host with systemd and docker that can be rebooted, switched off and cut off.

    `name` is unique among the machines that run now. A machine is a context manager: it is up inside the block
    and leaves nothing behind after it. A block left by an exception first saves the logs to the folder that the
    environment variable `GUARDIAN_TEST_LOGS` names, if it does.
    """

    name: str
    slowness: float = 1.0
    """By how much default time limits are longer here than on a container host."""

    # What each kind of machine has to say for itself

    @abc.abstractmethod
    def start(self) -> None:
        """Switch the machine on and wait until systemd has settled. Does nothing when it is on."""

    @abc.abstractmethod
    def crash(self) -> None:
        """Cut the power: no process of the machine gets to do anything any more."""

    @abc.abstractmethod
    def close(self) -> None:
        """Cut the power and remove everything the machine consisted of. Can be repeated."""

    @abc.abstractmethod
    def poweroff(self, *, timeout: float | None = None) -> None:
        """Shut down in good order and wait for the end. Raises `TimedOut`."""

    @abc.abstractmethod
    def reboot(self, *, timeout: float | None = None) -> None:
        """Shut down in good order, boot again, wait until systemd has settled and docker answers."""

    @property
    @abc.abstractmethod
    def is_up(self) -> bool:
        """Whether the machine is switched on."""

    @property
    @abc.abstractmethod
    def address(self) -> str:
        """The address under which a peer outside reaches the machine."""

    @abc.abstractmethod
    def shell_hint(self) -> str:
        """The command that a person types on this computer to get a shell in the machine."""

    @abc.abstractmethod
    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command of this computer that runs a program in the machine as root. Raises `MachineError` when off."""

    @abc.abstractmethod
    def console_text(self) -> str:
        """What the machine wrote to its console."""

    @abc.abstractmethod
    def full_journal(self) -> str:
        """The text of the journal of all boots; works whether the machine is on or off."""

    # What follows from it

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_for_docker()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        folder = os.environ.get("GUARDIAN_TEST_LOGS")
        try:
            if kind is not None and folder:
                self.save_logs(Path(folder))
        finally:
            self.close()

    def run(
        self,
        command: str,
        *,
        timeout: float | None = None,
        unit: bool = False,
        check: bool = False,
        stdin: bytes | File = None,
    ) -> Result:
        """How a shell command ended and what it wrote.

        With `unit` it runs in a transient systemd unit, as things do on a real host: in the host's own cgroup tree
        and with the environment of a unit. Raises `CommandFailed` when out of time, or with `check` when it fails.
        """
        limit = self._limit(timeout)
        argv = ["sh", "-c", command]
        if unit:
            argv = [
                *(
                    "systemd-run",
                    "--wait",
                    "--pipe",
                    "--quiet",
                    "--collect",
                    "--setenv=HOME=/root",
                    "--expand-environment=no",
                ),
                *(f"--property=RuntimeMaxSec={limit:g}", "--", *argv),
            ]
        return run(
            self.enter(argv), timeout=limit, check=check, stdin=stdin, shown_as=command, where=self.name
        )

    def execute(
        self, command: str, *, timeout: float | None = None, unit: bool = False, stdin: bytes | None = None
    ) -> tuple[int, str]:
        """The status and stdout of a shell command, however it ended. Raises `CommandFailed` when out of time."""
        result = self.run(command, timeout=timeout, unit=unit, stdin=stdin)
        return result.status, result.stdout

    def succeed(
        self, command: str, *, timeout: float | None = None, unit: bool = False, stdin: bytes | None = None
    ) -> str:
        """The stdout of a shell command that must succeed, else `CommandFailed` with all it said."""
        return self.run(command, timeout=timeout, unit=unit, check=True, stdin=stdin).stdout

    def fail(self, command: str, *, timeout: float | None = None, unit: bool = False) -> str:
        """The stdout of a shell command that must not succeed. Raises `CommandFailed` when it does."""
        result = self.run(command, timeout=timeout, unit=unit)
        if result.status == 0:
            where = f"{self.name} (was expected to fail)"
            raise CommandFailed(command, 0, result.stdout, result.stderr, where=where)
        return result.stdout

    @contextlib.contextmanager
    def running(self, command: str, *, stdout: File = None) -> Iterator[subprocess.Popen[bytes]]:
        """A shell command in the machine for as long as the block lasts."""
        with started(self.enter(["sh", "-c", command]), stdout=stdout) as process:
            yield process

    def _limit(self, timeout: float | None) -> float:
        return COMMAND_TIMEOUT * self.slowness if timeout is None else timeout

    def wait_until_succeeds(self, command: str, *, timeout: float | None = None, unit: bool = False) -> str:
        """Repeat a shell command until it succeeds; its stdout then.

        Raises the last attempt's `CommandFailed`.
        """
        return self._wait_until(command, wanted=True, timeout=timeout, unit=unit)

    def wait_until_fails(self, command: str, *, timeout: float | None = None, unit: bool = False) -> str:
        """Repeat a shell command until it fails; its stdout then. Raises `CommandFailed`."""
        return self._wait_until(command, wanted=False, timeout=timeout, unit=unit)

    def _wait_until(self, command: str, *, wanted: bool, timeout: float | None, unit: bool) -> str:
        limit = self._limit(timeout)
        deadline = time.monotonic() + limit
        while True:
            left = max(deadline - time.monotonic(), 1.0)
            result = self.run(command, timeout=left, unit=unit)
            if (result.status == 0) == wanted:
                return result.stdout
            if time.monotonic() > deadline:
                where = f"{self.name} (for {limit:g} s)"
                raise CommandFailed(command, result.status, result.stdout, result.stderr, where=where)
            time.sleep(POLL * self.slowness)

    def wait_for_unit(self, unit: str, *, timeout: float | None = None) -> None:
        """Wait until a unit is active. Raises `MachineError` with its journal once it has failed, or `TimedOut`."""

        def active() -> bool:
            state = self.unit_property(unit, "ActiveState")
            if state == "failed":
                raise MachineError(f"{self.name}: {unit} failed\n{self.journal(unit=unit)}")
            return state == "active"

        wait_until(
            active,
            timeout=self._limit(timeout),
            what=f"{unit} active on {self.name}",
            every=POLL * self.slowness,
        )

    def unit_property(self, unit: str, name: str) -> str:
        """A property of a unit as `systemctl show` prints it."""
        return self.succeed(f"systemctl show --property={name} --value -- {shlex.quote(unit)}").strip()

    def wait_for_docker(self, *, timeout: float | None = None) -> None:
        """Wait until dockerd answers. Raises `CommandFailed`."""
        self.wait_until_succeeds("docker info", timeout=timeout)

    def journal(self, *, unit: str | None = None, boot: int = 0, since_cursor: str | None = None) -> str:
        """The journal's text of a boot (0 is the present one, -1 the one before), of one unit or all."""
        options = [f"--boot={boot}", "--no-pager", "--output=short-precise"]
        options += [f"--unit={unit}"] if unit else []
        options += [f"--after-cursor={since_cursor}"] if since_cursor else []
        return self.succeed(shlex.join(["journalctl", *options]))

    def save_logs(self, folder: Path) -> None:
        """Write the journal of all boots and the console to files in a folder of this computer."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.journal.txt").write_text(self.full_journal())
        (folder / f"{self.name}.console.txt").write_text(self.console_text())

    def boot_id(self) -> str:
        """What differs after each boot."""
        return self.read("/proc/sys/kernel/random/boot_id").strip()

    def read(self, path: str) -> str:
        """The text of a file in the machine."""
        return self.succeed(f"cat -- {shlex.quote(path)}")

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a text file in the machine; its parent folder is created."""
        self._write(path, text.encode(), mode)

    def copy_to(self, source: Path | str, target: str) -> None:
        """Copy a file, or what is in a folder, of this computer to the path `target` in the machine."""
        source, quoted = Path(source), shlex.quote(target)
        if source.is_dir():
            argv = ["tar", "-C", str(source), "-c", "."]
            with started(argv, stdout=subprocess.PIPE) as tar:
                self.run(f"mkdir -p -- {quoted} && tar -C {quoted} -x", check=True, stdin=tar.stdout)
        else:
            with source.open("rb") as file:
                self._write(target, file, source.stat().st_mode & 0o7777)

    def copy_from(self, source: str, target: Path | str) -> None:
        """Copy a file, or what is in a folder, of the machine to the path `target` on this computer."""
        target, quoted = Path(target), shlex.quote(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.run(f"test -d {quoted}").status == 0:
            target.mkdir(exist_ok=True)
            with started(self.enter(["tar", "-C", source, "-c", "."]), stdout=subprocess.PIPE) as tar:
                run(["tar", "-C", str(target), "-x"], timeout=self._limit(None), stdin=tar.stdout)
        else:
            with target.open("wb") as file:
                run(self.enter(["cat", "--", source]), timeout=self._limit(None), stdout=file)

    def _write(self, path: str, content: bytes | File, mode: int) -> None:
        quoted = shlex.quote(path)
        command = f'mkdir -p -- "$(dirname -- {quoted})" && cat >{quoted} && chmod {mode:o} -- {quoted}'
        self.run(command, check=True, stdin=content)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say in the machine's journal where in the test we are, so that both can be read side by side."""
        self.execute(shlex.join(["logger", "-t", "guardian-test", f"begin: {what}"]))
        yield
        self.execute(shlex.join(["logger", "-t", "guardian-test", f"end: {what}"]))
