"""dockerd as a process: would it start, was it tried, what did it say of live-restore when it was up."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shlex
import signal
from pathlib import Path

from guardian.host import durable, paths, proc, systemd
from guardian.host.command import CommandFailed, run
from guardian.model import json_text
from guardian.model.container import Container

UNIT = "docker.service"
_TRIED = paths.RUN / "engine-start-tried"
_ROOT = paths.RUN / "engine-root"
_LIVE_RESTORE = paths.RUN / "engine-live-restore"
_VALIDATE_LIMIT = 10.0


def note_up(*, live_restore: bool, root: str) -> None:
    """dockerd is up: keep what must be known when it is not; `root` is where it keeps its things."""
    _TRIED.unlink(missing_ok=True)
    durable.write(_ROOT, root)
    if live_restore:
        _LIVE_RESTORE.touch()
    else:
        _LIVE_RESTORE.unlink(missing_ok=True)


def as_started(container: Container) -> Container:
    """A container over whose start dockerd has gone: running, with the start that dockerd has written down, if any.

    moby daemon/start.go writes its state down before it answers; container/container.go names the file.
    """
    try:
        place = Path(_ROOT.read_text(), "containers", container.id, "config.v2.json")
        started_at = str(json_text.loads(place.read_text())["State"]["StartedAt"])
    except (OSError, ValueError, LookupError, TypeError):
        started_at = container.started_at
    return dataclasses.replace(container, running=True, started_at=started_at)


def live_restore() -> bool:
    """Whether the dockerd that was up last had live-restore on."""
    return _LIVE_RESTORE.exists()


def note_start_tried() -> None:
    """A start of dockerd follows."""
    _TRIED.touch()


def start_was_tried() -> bool:
    """Whether a start was tried since dockerd was up last."""
    return _TRIED.exists()


def running_pid() -> int:
    """dockerd's process, 0 when there is none. When it is not, docker.socket must not be touched: it would accept and
    answer only when dockerd is back, and its start may wait for us.
    """
    pid = systemd.main_pid(UNIT)
    return pid if pid and proc.alive(pid) else 0


def wake() -> None:
    """Let a dockerd go on that somebody has stopped by SIGSTOP, which systemd will do anyway once its stop comes.

    systemd's core/unit.c sends SIGCONT after the SIGTERM (unit_kill_context).
    """
    pid = running_pid()
    seen = proc.stat(pid) if pid else None
    if seen is not None and seen.state == "T":
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def invalid() -> str:
    """Why dockerd would not start with docker.service's own arguments and its configuration; empty where it would."""
    try:
        argv = _arguments()
        done = run([argv[0], "--validate", *argv[1:]], limit=_VALIDATE_LIMIT, check=False)
    except (CommandFailed, ValueError, OSError) as error:
        return str(error)
    said = (done.errors or done.output).strip().splitlines()
    if done.status == 0 or "unknown flag" in done.errors:  # 20.10 has no --validate
        return ""
    return said[-1][-300:] if said else "dockerd --validate failed"


def _arguments() -> list[str]:
    """dockerd's command line as systemd would run it, variables replaced."""
    shown = run(
        ["systemctl", "show", UNIT, "--property=ExecStart,Environment,EnvironmentFiles"],
        limit=_VALIDATE_LIMIT,
    ).output
    found = re.search(r"argv\[\]=(.*?) ;", shown)
    words = shlex.split(found.group(1)) if found else ["/usr/sbin/dockerd"]
    variables = _variables(shown)
    expanded: list[str] = []
    for word in words:
        if re.fullmatch(r"\$\w+", word):  # a variable that is a word of its own is split, systemd.service(5)
            expanded += shlex.split(variables.get(word[1:], ""))
        else:
            expanded.append(re.sub(r"\$\{(\w+)\}", lambda name: variables.get(name.group(1), ""), word))
    return expanded


def _variables(shown: str) -> dict[str, str]:
    pairs: list[str] = []
    for line in shown.splitlines():
        if line.startswith("Environment="):
            pairs += shlex.split(line.removeprefix("Environment="))
        elif line.startswith("EnvironmentFiles="):
            path = Path(line.removeprefix("EnvironmentFiles=").split(" (")[0])
            if path.is_file():
                pairs += shlex.split(path.read_text(), comments=True)
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)
