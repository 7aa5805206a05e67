"""Holds, tickets and holders: the files in /run/guardian by which the front refuses, restores or passes through."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import threading
import time
from pathlib import Path

from guardian.host import durable, fence, mounts, paths, proc
from guardian.host.command import CommandFailed
from guardian.model.states import FORMAT

_FOLDERS = (paths.HOLDS, paths.TICKETS, paths.HOLDERS, paths.FROZEN, paths.FACTS, paths.DUMPS, paths.RESTORES)

_LOOK_AGAIN = 0.05
_HOLDER_NAME = "guardian-holder"
RUNS_SOON = 20.0
"""Seconds from `spent` to a container that runs: filters, credentials, limits."""
REFUSAL = "guardian: checkpoint pending, start held"
"""How every refusal begins, here and in runtime/hold.sh."""


@dataclasses.dataclass(frozen=True)
class Ticket:
    """What the holder must know to restore; limits are in seconds."""

    container_id: str
    checkpoint: Path
    cgroup: str
    own_network: bool
    oom_score_adj: int
    gate_seconds: int
    restore_seconds: int
    flags: tuple[str, ...]


def make_folders() -> None:
    """Make /run/guardian, root's alone."""
    for folder in _FOLDERS:
        durable.private_folder(folder)
    os.chmod(paths.RUN, 0o700)


def hold(container_id: str, name: str, checkpoint: Path) -> None:
    """Refuse every start of the container from now on, with a message that names the way out."""
    shown = _plain(name)
    _hold(
        container_id,
        checkpoint,
        f"{REFUSAL}; "
        f"guardianctl restore {shown} resumes it, guardianctl release --cold {shown} starts it anew",
    )


def hold_departing(container_id: str, name: str, checkpoint: Path, host: str) -> None:
    """Refuse every start because another host is about to run it, or does."""
    way_out = f"guardianctl release --force {_plain(name)} starts it here all the same"
    _hold(container_id, checkpoint, f"guardian: moved to {_plain(host)}, start refused; {way_out}")


def hold_arriving(container_id: str, checkpoint: Path) -> None:
    """Refuse every start until the host that it comes from has given it up."""
    why = "its move to this host is undecided, start held; guardianctl migrate --resolve decides"
    _hold(container_id, checkpoint, f"guardian: {why}")


def _plain(text: str) -> str:
    """What the front can put into a message of JSON."""
    return "".join(character for character in text if character.isalnum() or character in "_.-@:")


def _hold(container_id: str, checkpoint: Path, message: str) -> None:
    put(paths.HOLDS / container_id, f"format={FORMAT}\nmessage={message}\ncheckpoint={checkpoint}\n")


def held(container_id: str) -> bool:
    """Whether a start of the container is refused."""
    return (paths.HOLDS / container_id).exists()


def holds() -> list[str]:
    """The ids of all held containers."""
    return names(paths.HOLDS)


def lift(container_id: str) -> None:
    """Let the container be started, and its peers be answered. Lifting starts nothing."""
    (paths.HOLDS / container_id).unlink(missing_ok=True)
    fence.lift(container_id)


def give(ticket: Ticket) -> None:
    """Let the next `create` of the container be a restore."""
    put(
        paths.TICKETS / ticket.container_id,
        "".join(
            f"{key}={value}\n"
            for key, value in (
                ("format", FORMAT),
                ("checkpoint", ticket.checkpoint),
                ("restore", restore_folder(ticket.container_id)),
                ("boot", proc.boot_id()),
                ("cgroup", ticket.cgroup),
                ("own_network", int(ticket.own_network)),
                ("oom_score_adj", ticket.oom_score_adj),
                ("gate_seconds", ticket.gate_seconds),
                ("restore_seconds", ticket.restore_seconds),
                ("flags", " ".join(ticket.flags)),
            )
        ),
    )


def restore_folder(container_id: str) -> Path:
    """Where what one restore needs beside its checkpoint is put, and CRIU's log where the disk is full."""
    folder = paths.RESTORES / container_id
    durable.private_folder(folder)
    return folder


def clear_restore(container_id: str) -> None:
    """Remove it; what is mounted there, by a CRIU that was killed, must not be emptied."""
    folder = paths.RESTORES / container_id
    try:
        mounts.detach_work(folder)
    except (CommandFailed, OSError):
        return  # the next restore is cleared as well
    shutil.rmtree(folder, ignore_errors=True)


def withdraw(container_id: str) -> bool:
    """Take a ticket back; returns whether it was still there."""
    try:
        (paths.TICKETS / container_id).unlink()
    except FileNotFoundError:
        return False
    return True


def unused() -> list[str]:
    """The containers whose ticket nobody has taken."""
    return names(paths.TICKETS)


def open_gate(container_id: str) -> None:
    """Let the holder restore as soon as dockerd says `start`; nothing where there is no holder."""
    try:
        descriptor = os.open(
            paths.HOLDERS / container_id / "gate", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError:
        return
    try:
        os.write(descriptor, b"go\n")
    except BrokenPipeError:
        return  # it was open already: the holder has passed it and closed it this very moment
    finally:
        os.close(descriptor)


def restored(container_id: str) -> bool:
    """Whether the container runs under a holder."""
    return (paths.HOLDERS / container_id / "running").exists()


def restoring_from(container_id: str) -> Path | None:
    """The checkpoint that the container's holder restores or has restored; None where it has no holder."""
    try:
        lines = (paths.HOLDERS / container_id / "ticket").read_text(errors="replace").split("\n")
    except OSError:
        return None
    return next((Path(line[11:]) for line in lines if line.startswith("checkpoint=")), None)


def await_restored(container_id: str, *, limit: float) -> bool:
    """Wait until a holder has restored, at most `limit` seconds and as long as it lives; returns whether it has."""
    end = time.monotonic() + limit
    while not restored(container_id):
        try:
            pid = int((paths.HOLDERS / container_id / "pid").read_text())
        except (OSError, ValueError):
            return False
        if not proc.alive(pid) or time.monotonic() > end:
            return restored(container_id)
        time.sleep(_LOOK_AGAIN)  # it writes a file, and tells nobody else than the one who said `start`
    return True


def forbid_exec(container_id: str, checkpoint: Path) -> None:
    """Refuse `docker exec` while CRIU holds a thawed cgroup, and remember what it is frozen for."""
    put(paths.FROZEN / container_id, f"format={FORMAT}\ncheckpoint={checkpoint}\n")


def frozen() -> dict[str, Path]:
    """The containers that a checkpoint has frozen and nobody has let go since, and the checkpoint of each."""
    found = {}
    for container_id in names(paths.FROZEN):
        lines = (paths.FROZEN / container_id).read_text(errors="replace").split("\n")
        found[container_id] = Path(next((line[11:] for line in lines if line.startswith("checkpoint=")), ""))
    return found


def allow_exec(container_id: str) -> None:
    """Undo `forbid_exec`."""
    (paths.FROZEN / container_id).unlink(missing_ok=True)


def clear_holder(container_id: str) -> None:
    """End a holder that has not restored, and remove what it has left.

    One whose dockerd is gone would wait for its gate, and its shim with it, and the next start with that.
    """
    folder = paths.HOLDERS / container_id
    with contextlib.suppress(OSError, ValueError):
        pid = int((folder / "pid").read_text())
        seen = proc.stat(pid)
        if seen is not None and seen.name == _HOLDER_NAME and not restored(container_id):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def idle_holders() -> list[str]:
    """The containers whose holder has not restored: it waits, or is at it."""
    return [container_id for container_id in names(paths.HOLDERS) if not restored(container_id)]


def names(folder: Path) -> list[str]:
    """The files of a folder, without those being written."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except FileNotFoundError:
        return []


def put(path: Path, text: str) -> None:
    """Whole or not at all; /run is memory, so nothing is fsynced."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with open(temporary, "w", opener=durable.owner_only) as file:
        file.write(text)
    temporary.rename(path)
