"""Who asks for a start: runtime/commit.c lets nothing run that nobody waits for."""

from __future__ import annotations

import contextlib

from guardian.host import containerd, docker_daemon, gate, proc


def note(container_id: str) -> None:
    """Write down dockerd and every containerd, as they are now: lines "PID STARTTIME" in the restore's folder."""
    pids = [pid for pid in (docker_daemon.running_pid(), *containerd.processes()) if pid]
    found = [(pid, seen.started) for pid in pids if (seen := proc.stat(pid)) is not None]
    with contextlib.suppress(OSError):  # without it nobody is looked at
        gate.put(
            gate.restore_folder(container_id) / "asking",
            "".join(f"{pid} {started}\n" for pid, started in found),
        )
