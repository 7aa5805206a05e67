"""The processor as CRIU sees it: whether what ran on one can go on on another (criu/cpu.c, `criu cpuinfo`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from guardian.host.command import run
from guardian.host.runc import criu

_IMAGE = "cpuinfo.img"
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
