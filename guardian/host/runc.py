"""The real runc and the CRIU behind it: what they know of a container, and the dump."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from guardian.host import chain, containerd, durable, paths, proc
from guardian.host.cgroup import Cgroup
from guardian.host.command import CommandFailed, run
from guardian.model import json_text, steps

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_PID = 1 << 22
"""PID_MAX_LIMIT of a 64-bit kernel (include/linux/threads.h)."""
_MINIMUM_CRIU = (3, 19)
"""Before it, action scripts from a configuration file are ignored under runc."""


@dataclasses.dataclass(frozen=True)
class RuncContainer:
    """What runc's state file says of a running container. `pid` is the true init, also after a restore."""

    root: Path
    pid: int
    cgroup: Path
    bundle: Path
    network_is_path: bool
    own_network: bool


def binary() -> str:
    """The real runc; raises CommandFailed."""
    found = shutil.which("runc", path=USUAL_PATH)
    if found is None:
        raise CommandFailed("runc is not there", f"not in {USUAL_PATH}")
    return found


def state(container_id: str) -> RuncContainer | None:
    """runc's view of a container, None where runc does not know it or its init is gone.

    Raises CommandFailed for a state file that is not runc's: whether the container runs is not known then.
    """
    for root in paths.runc_roots():
        try:
            data = json_text.loads((root / container_id / "state.json").read_bytes())
        except (FileNotFoundError, ValueError):
            continue
        try:
            return _seen(root, data)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CommandFailed(
                f"runc's state of {container_id} is not understood", f"{error!r:.200}"
            ) from error
    return None


def _seen(root: Path, data: Any) -> RuncContainer | None:
    """What a state file says; None where its init is gone."""
    pid = int(data["init_process_pid"])
    if not 0 < pid <= _MOST_PID:
        raise ValueError(f"{pid} is no process")
    seen = proc.stat(pid)
    if seen is None or seen.started != int(data["init_process_start"]):
        return None
    try:
        own_network = proc.inode(f"/proc/{pid}/ns/net") != proc.inode("/proc/1/ns/net")
    except OSError:
        return None  # it has ended since
    labels = [label for label in data["config"].get("labels") or [] if label.startswith("bundle=")]
    return RuncContainer(
        root=root,
        pid=pid,
        cgroup=_cgroup(data),
        bundle=Path(labels[0].removeprefix("bundle=")) if labels else Path(),
        network_is_path=_network_path(data) not in ("", f"/proc/{pid}/ns/net"),
        own_network=own_network,
    )


def _cgroup(data: dict[str, Any]) -> Path:
    for path in (data.get("cgroup_paths") or {}).values():
        return Path(path)
    return Path(f"/sys/fs/cgroup/system.slice/docker-{data['id']}.scope")


def _network_path(data: dict[str, Any]) -> str:
    """The path given for the network namespace in the container's own configuration, empty where runc made one."""
    for namespace in data["config"].get("namespaces") or []:
        if namespace.get("type") == "NEWNET":
            return str(namespace.get("path") or "")
    return ""


def oom_score_adj(bundle: Path) -> int:
    """The value the container was made with; 0 where the bundle does not say."""
    try:
        config = json_text.loads((bundle / "config.json").read_bytes())
        return int(config["process"].get("oomScoreAdj") or 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return 0


def criu() -> str:
    """CRIU; raises CommandFailed."""
    found = shutil.which("criu", path=USUAL_PATH)
    if found is None:
        raise CommandFailed("criu is not there", f"not in {USUAL_PATH}")
    return found


def _told(program: str, *arguments: str) -> str:
    """What a program says of itself, asked once for each version of its file: an upgrade may change it under us."""
    seen = Path(program).stat()
    return _ask(seen.st_ino, seen.st_mtime_ns, program, *arguments)


@functools.lru_cache(maxsize=16)
def _ask(_inode: int, _changed: int, program: str, *arguments: str) -> str:
    return run([program, *arguments], limit=10.0, check=False).output


def dump_flags() -> tuple[str, ...]:
    """Options this runc knows and whose request would else overrule the configuration file (1.3: link-remap)."""
    text = _told(binary(), "checkpoint", "--help")
    wanted = ("--tcp-established", "--ext-unix-sk", "--file-locks", "--link-remap", "--tcp-skip-in-flight")
    return tuple(flag for flag in wanted if flag in text)


def restore_flags() -> tuple[str, ...]:
    """Options for `runc restore`, as far as this runc knows them."""
    text = _told(binary(), "restore", "--help")
    wanted = ("--tcp-established", "--ext-unix-sk", "--file-locks", "--link-remap")
    return tuple(flag for flag in wanted if flag in text)


def criu_version() -> tuple[int, ...]:
    """CRIU's version; raises CommandFailed."""
    text = _told(criu(), "--version")
    for line in text.splitlines():
        if line.startswith("Version:"):
            return tuple(int(part) for part in line.split()[1].split(".") if part.isdigit())
    raise CommandFailed("criu --version says no version", text[:100])


def version() -> str:
    """runc's version; raises CommandFailed."""
    return next((line.split()[-1] for line in _told(binary(), "--version").splitlines() if line.split()), "")


def unsupported() -> str:
    """Why no dump can work on this host, empty where it can."""
    return criu_too_old() or breaking_configuration() or containerd.without_front()


def criu_too_old() -> str:
    """That CRIU is too old, empty where it is not; raises CommandFailed."""
    if criu_version() < _MINIMUM_CRIU:
        return f"CRIU {'.'.join(map(str, criu_version()))} is older than 3.19"
    return ""


def breaking_configuration() -> str:
    """What in CRIU's shared configuration would break the commit, empty where nothing does."""
    for file in ("/etc/criu/runc.conf", "/etc/criu/default.conf"):
        try:
            words = {line.split()[0] for line in Path(file).read_text().splitlines() if line.split()}
        except FileNotFoundError:
            continue
        breaking = words & {"action-script", "leave-running", "leave-stopped"}
        if breaking:
            return f"{file} has {', '.join(sorted(breaking))}, which breaks the commit"
    return ""


def network_lock_skip() -> bool:
    """Whether this CRIU has `network-lock skip` (4.0 and newer)."""
    return criu_version() >= (3, 19) and "skip" in _told(criu(), "--help")


def start_dump(
    known: RuncContainer, container_id: str, checkpoint: Path, log: Path, *, leave_running: bool
) -> subprocess.Popen[bytes]:
    """Start `runc checkpoint`, upon what was written ahead; the caller waits for it. Its own output goes to `log`."""
    ahead = chain.noted(checkpoint)
    options = [
        *dump_flags(),
        *(["--leave-running"] if leave_running else []),
        *(["--parent-path", steps.name(ahead)] if ahead else []),
        *("--image-path", str(checkpoint / "img"), "--work-path", str(checkpoint / "work")),
    ]
    configuration = {"CRIU_CONFIG_FILE": str(checkpoint / "dump.conf")}
    return _start_checkpoint(known, container_id, checkpoint, log, options, configuration)


def start_pre_dump(
    known: RuncContainer, container_id: str, checkpoint: Path, number: int
) -> subprocess.Popen[bytes]:
    """Start `runc checkpoint --pre-dump` of a step whose folders are there; the caller waits for it.

    CRIU calls no action scripts over it, locks nothing and looks at no socket (criu/cr-dump.c, cr_pre_dump_tasks).
    """
    work, parent = checkpoint / "work" / steps.name(number), steps.parent_of(number)
    options = [
        "--pre-dump",
        *(["--parent-path", parent] if parent else []),
        *("--image-path", str(checkpoint / "img" / steps.name(number)), "--work-path", str(work)),
    ]
    return _start_checkpoint(known, container_id, checkpoint, work / "runc.log", options, {})


def _start_checkpoint(
    known: RuncContainer,
    container_id: str,
    checkpoint: Path,
    log: Path,
    options: list[str],
    configuration: dict[str, str],
) -> subprocess.Popen[bytes]:
    argv = [binary(), "--root", str(known.root), "checkpoint", *options, container_id]
    environment = {"PATH": USUAL_PATH, **configuration, "GUARDIAN_CHECKPOINT": str(checkpoint)}
    with open(log, "wb", opener=durable.owner_only) as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
            umask=0o077,  # CRIU makes its images readable for all
        )


def criu_below(pid: int) -> list[int]:
    """The CRIU processes that a runc has started."""
    found = []
    for child in proc.descendants(pid):
        seen = proc.stat(child)
        if seen is not None and seen.name.startswith("criu"):
            found.append(child)
    return found


_HARMLESS = "RLIMIT_NOFILE for self"
"""CRIU says so without CAP_SYS_RESOURCE and goes on."""


_SCRIPT = "guardian: "
"""How runtime/commit.c begins what it says; CRIU lets its scripts write into its log (cr_system, criu/util.c)."""
_EXITED = "exited, status="


def first_error(log: Path) -> str:
    """The first error line of a CRIU log, without its time stamp; empty where there is none, or it cannot be read.

    What our script has said before it is the reason itself: CRIU only says that the script has ended with 1.
    """
    said = ""
    with contextlib.suppress(OSError), log.open(errors="replace") as lines:
        for line in lines:
            if line.startswith(_SCRIPT):
                said = line.removeprefix(_SCRIPT)
            elif "Error (" in line and _HARMLESS not in line:
                found = line[line.index("Error (") :]
                return (said if said and _EXITED in found else found).strip()[:300]
    return ""


def criu_of(checkpoint: Path) -> list[int]:
    """The CRIU processes that work on a checkpoint, also where their runc was killed: they go on without it."""
    wanted, images = f"GUARDIAN_CHECKPOINT={checkpoint}".encode(), f"{checkpoint}/img".encode()
    found = []
    for pid, words in proc.command_lines():
        seen = proc.stat(pid)
        if seen is None or seen.state in "ZX" or not seen.name.startswith("criu"):
            continue
        with contextlib.suppress(OSError):
            # CRIU 4.1 writes a title with its folder over its arguments, and over as much of its environment.
            if images in b" ".join(words) or wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def await_criu(checkpoint: Path, cgroup: Cgroup, *, limit: float) -> None:
    """Wait until no CRIU works on a checkpoint any more; after `limit` seconds end it, frozen before.

    Thawed, the container would run on with broken sockets. Raises GuardianError where it cannot be frozen.
    """
    left = [pid for pid in criu_of(checkpoint) if not proc.wait_for_exit(pid, limit=limit)]
    if left:
        cgroup.freeze(limit=10.0)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in left:
        proc.wait_for_exit(pid, limit=20.0)


def await_dump(container_id: str, checkpoint: Path, cgroup: Cgroup, *, limit: float = 60.0) -> None:
    """Wait for a `runc checkpoint` of the container that another worker has started; after `limit` seconds end it."""
    await_criu(checkpoint, cgroup, limit=limit)
    for pid in _dumping(container_id):
        proc.wait_for_exit(pid, limit=20.0)


def _dumping(container_id: str) -> list[int]:
    """The processes that are a `runc checkpoint` of the container."""
    return _at(b"checkpoint", container_id)


def is_restoring(container_id: str) -> bool:
    """Whether a `runc restore` of the container is under way."""
    return bool(_at(b"restore", container_id))


def forget(container_id: str) -> None:
    """Away with what a killed runc has left of a container that is not there: it would refuse the next `create`."""
    for root in paths.runc_roots():
        if (root / container_id).exists() and state(container_id) is None:
            _unmount_root(root / container_id / "criu-root")
            run([binary(), "--root", str(root), "delete", "--force", container_id], limit=30.0, check=False)


def _unmount_root(place: Path) -> None:
    """The container's root, which `runc restore` mounts there: `runc delete` would empty it. Raises OSError."""
    while place.exists() and not run(["umount", "-l", str(place)], limit=10.0, check=False).status:
        pass
    with contextlib.suppress(FileNotFoundError):
        place.rmdir()


def _at(verb: bytes, container_id: str) -> list[int]:
    return [pid for pid, words in proc.command_lines() if verb in words and container_id.encode() in words]


def warm() -> None:
    """Ask runc and CRIU now what they can: at a shutdown or in an upgrade it takes longer or may be too late."""
    with contextlib.suppress(CommandFailed, OSError):
        dump_flags()
        restore_flags()
        network_lock_skip()
