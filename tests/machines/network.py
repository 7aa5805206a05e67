"""A small network of its own for test hosts and for peers outside them.

Its bridge and the peers on it stay while a host reboots, so that a peer's connection can live through that.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from . import cache
from .commands import File, Result, run, started
from .errors import MachineError
from .leftovers import Record

BRIDGE = "br0"
PREFIX = 24
FIRST_HOST = 10


class Network:
    """A network namespace with a bridge; peers run in it, test hosts are plugged into it. A context manager."""

    def __init__(self) -> None:
        cache.require_commands({"ip": "iproute2"})
        self._record = Record.new("net")
        self.name = self._record.name
        self.gateway = f"10.213.{self._record.slot}.1"
        self._next_host = FIRST_HOST
        self._stack = contextlib.ExitStack()
        try:
            self._holder = self._stack.enter_context(self._namespace())
            self._set_up()
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def _namespace(self) -> Iterator[subprocess.Popen[bytes]]:
        """A process that is the namespace: both end with this Python, whatever ends it."""
        argv = ["unshare", "--net", "sh", "-c", "echo ready; exec cat"]
        with started(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            if holder.stdout.readline() != b"ready\n":
                raise MachineError("cannot make a network namespace")
            self._record.add_process(holder.pid)
            yield holder

    def _set_up(self) -> None:
        for command in (
            "link set lo up",
            f"link add {BRIDGE} type bridge forward_delay 0",
            f"address add {self.gateway}/{PREFIX} dev {BRIDGE}",
            f"link set {BRIDGE} up",
            # A host that asks for the world outside is told at once that there is none.
            "route add unreachable default",
        ):
            self.peer_exec(["ip", *command.split()])
        self.peer_exec(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])

    @property
    def path(self) -> str:
        """The namespace as a file for nsenter."""
        return f"/proc/{self._holder.pid}/ns/net"

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command that runs a program of this computer in the network."""
        return ["nsenter", f"--net={self.path}", *argv]

    def new_address(self) -> str:
        """An address for one more host."""
        address = f"10.213.{self._record.slot}.{self._next_host}"
        self._next_host += 1
        return address

    def peer_exec(self, argv: Sequence[str], *, timeout: float = 60, check: bool = True) -> Result:
        """Run a program of this computer in the network, to its end. Raises `CommandFailed`."""
        return run(self.enter(argv), timeout=timeout, check=check, where=self.name)

    @contextlib.contextmanager
    def peer_popen(
        self,
        argv: Sequence[str],
        *,
        stdin: File = subprocess.DEVNULL,
        stdout: File = None,
        stderr: File = None,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A program of this computer in the network, for as long as the block lasts."""
        with started(self.enter(argv), stdin=stdin, stdout=stdout, stderr=stderr) as process:
            self._record.add_process(process.pid)
            yield process

    def close(self) -> None:
        """Remove the network. Can be repeated."""
        self._stack.close()
        self._record.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
