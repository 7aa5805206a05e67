"""Peers outside the host: clients that must not notice anything, servers, and a capture that counts resets."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.host.site import Site
from tests.machines.network import BRIDGE, Network

PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
PATIENCE = 90.0


class Program:
    """A program that runs outside and writes lines; the last whole one counts."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output

    def lines(self) -> list[str]:
        """What it has written."""
        return self._output.read_text().split("\n")[:-1]

    def seen(self) -> dict[str, Any]:
        """Its last report."""
        found: dict[str, Any] = json.loads(self.lines()[-1])
        return found

    def wait_for_more(self, what: str, *, more: int = 20) -> dict[str, Any]:
        """Its report once a number has grown by `more` from now on: what it does goes on."""
        end = time.monotonic() + PATIENCE
        while not self.lines():
            assert time.monotonic() < end, "it reports nothing"
            time.sleep(0.05)
        before = self.seen()[what]
        while (now := self.seen())[what] < before + more:
            assert time.monotonic() < end, f"{what} does not grow: {now}"
            time.sleep(0.05)
        return now

    def end(self) -> None:
        """Close its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)


@contextlib.contextmanager
def program(network: Network, name: str, *arguments: str) -> Iterator[Program]:
    """One of tests/programs, outside of the host."""
    with tempfile.NamedTemporaryFile() as output:
        argv = [sys.executable, "-u", str(PROGRAMS / f"{name}.py"), *arguments]
        with network.peer_popen(argv, stdin=subprocess.PIPE, stdout=output) as process:
            yield Program(process, Path(output.name))


@contextlib.contextmanager
def client(
    site: Site, port: int, *, count: int = 1, interval: float = 0.05, host: str = ""
) -> Iterator[Program]:
    """A client of a published port that has connected and been answered."""
    where = host or site.machine.address
    with program(site.network, "client", where, str(port), str(count), str(interval)) as found:
        found.wait_for_more("requests", more=count)
        yield found


@contextlib.contextmanager
def no_resets(site: Site) -> Iterator[None]:
    """Nobody sends a reset to or from the host while the block lasts."""
    with program(site.network, "resets", BRIDGE) as capture:
        end = time.monotonic() + PATIENCE
        while capture.lines() != ["ready"]:
            assert time.monotonic() < end, "no capture"
            time.sleep(0.02)
        yield
        capture.end()
        assert capture.lines() == ["ready"]


def unnoticed(client: Program, *, count: int = 1) -> None:
    """The client goes on, on the very connections it had."""
    now = client.wait_for_more("requests", more=2 * count)
    noticed = {name: now[name] for name in ("connects", "resets", "ends", "wrong")}
    assert noticed == {"connects": count, "resets": 0, "ends": 0, "wrong": 0}
