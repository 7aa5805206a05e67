"""The user's own ssh to another host: its keys, agent, known hosts and configuration; no daemon of ours anywhere."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from guardian.host.command import run
from guardian.host.frames import Input, LinkLost, Output
from guardian.model.errors import BadInput, GuardianError

_ALIVE = ("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=6")
"""A link that is cut is noticed within a minute, whatever the user's configuration says."""
_BATCH = ("-o", "BatchMode=yes")
_ENDS = 10.0
_NO_CONNECTION = 255
_NO_PROGRAM = (126, 127)
_AES = "aes128-gcm@openssh.com"
_ASKS = 5.0


def aes_first(ciphers: str, usual: str) -> str:
    """The order of ciphers with AES-GCM first; empty where the user has an order of their own, or none with AES-GCM.

    `ciphers` is what `ssh -G` says, `usual` the same without anybody's configuration.
    """
    names = ciphers.split(",")
    if ciphers != usual or _AES not in names or names[0] == _AES:
        return ""
    return ",".join([_AES, *(name for name in names if name != _AES)])


def _ciphers(host: str) -> tuple[str, ...]:
    """OpenSSH prefers chacha20-poly1305, which takes a third more of both hosts (docs/bench.md).

    Not without instructions for AES here; a move wants the other processor to have what this one has.
    """
    try:
        features = Path("/proc/cpuinfo").read_text(errors="replace")
        if not any(" aes " in f"{line} " for line in features.splitlines()):
            return ()
        wanted, usual = (_asked(["ssh", "-G", *options, host]) for options in ((), ("-F", "none")))
    except (GuardianError, OSError):
        return ()  # ssh itself will say what is wrong
    order = aes_first(wanted, usual)
    return ("-o", f"Ciphers={order}") if order else ()


def _asked(argv: Sequence[str]) -> str:
    lines = run(argv, limit=_ASKS).output.splitlines()
    return next((line.removeprefix("ciphers ") for line in lines if line.startswith("ciphers ")), "")


class Remote:
    """guardianctl on another host, asked over ssh. A context manager; ssh's own words go to standard error."""

    def __init__(self, host: str, command: Sequence[str], *, batch: bool = False) -> None:
        """`batch`: ssh asks nothing. Raises BadInput for what is no host, GuardianError where there is no ssh here."""
        if not host or host.startswith("-") or any(character.isspace() for character in host):
            raise BadInput(f"{host!r} is no host", hint="a name of ssh's, such as root@host2")
        self.host = host
        options = (*_ALIVE, *_ciphers(host), *(_BATCH if batch else ()))
        try:
            self._process = subprocess.Popen(
                ["ssh", "-T", "-e", "none", *options, host, "--", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise GuardianError("ssh is not there", hint="apt install openssh-client") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.link = Input(self._process.stdout.fileno()), Output(self._process.stdin.fileno())

    def why(self, error: LinkLost) -> GuardianError:
        """Why the link was lost, as far as ssh's exit status tells."""
        try:
            status = self._process.wait(_ENDS)
        except subprocess.TimeoutExpired:
            return error
        if status == _NO_CONNECTION:
            return GuardianError(f"ssh has no connection to {self.host}", "it has said why")
        if status in _NO_PROGRAM:
            return GuardianError(
                f"guardian is not on {self.host}", f"status {status}", hint="install docker-guardian there"
            )
        return GuardianError(f"{self.host}: {error}", f"guardianctl ended there with {status}")

    def hang_up(self) -> None:
        """Nothing was said, and nothing is waited for."""
        self._process.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_ENDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
