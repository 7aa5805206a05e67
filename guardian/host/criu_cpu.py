"""The processor as CRIU sees it: whether what ran on one can go on on another (criu/cpu.c, `criu cpuinfo`)."""

from __future__ import annotations

import functools
import logging
import tempfile
from pathlib import Path

from guardian.host import durable
from guardian.host.checkpoint import Checkpoint
from guardian.host.command import CommandFailed, run
from guardian.host.runc import criu

log = logging.getLogger("guardian.cpu")

_IMAGE = "cpuinfo.img"
_NOTE = "cpu"
_LIMIT = 20.0


def described() -> bytes:
    """What `criu cpuinfo dump` says of this host; raises CommandFailed."""
    with tempfile.TemporaryDirectory() as folder:
        run([criu(), "cpuinfo", "dump", "--images-dir", folder], limit=_LIMIT)
        return (Path(folder) / _IMAGE).read_bytes()


def problem(description: bytes) -> str:
    """Why a process from a processor so described cannot go on here; empty where it can."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / _IMAGE).write_bytes(description)
        argv = [criu(), "cpuinfo", "check", "--images-dir", folder, "--log-file", "check.log"]
        done = run(argv, limit=_LIMIT, check=False)
        if done.status == 0:
            return ""
        log = Path(folder) / "check.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else [done.errors]
        return next((line.strip()[-300:] for line in lines if "Error" in line), f"status {done.status}")


@functools.cache
def _here() -> str:
    """This processor, in hex; it is asked for once, and empty where CRIU does not tell."""
    try:
        return described().hex()
    except (CommandFailed, OSError) as error:
        log.warning("the processor cannot be looked at: %s", error)
        return ""


def warm() -> None:
    """Ask now: at a shutdown every moment counts."""
    _here()


def note(checkpoint: Checkpoint) -> None:
    """Write down beside a checkpoint on which processor it was taken; raises OSError."""
    durable.write(checkpoint.folder / _NOTE, f"{_here()}\n")


def changed(checkpoint: Checkpoint) -> str:
    """Why a checkpoint cannot go on on the processor that is here now; empty where it can, or nothing is known."""
    try:
        noted = (checkpoint.folder / _NOTE).read_text().strip()
        if not noted or not _here() or noted == _here():
            return ""
        return problem(bytes.fromhex(noted))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, CommandFailed) as error:
        return str(error)
