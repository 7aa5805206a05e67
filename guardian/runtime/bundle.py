"""Makes a bundle's config.json fit for `runc restore`; started by the holder, standard library only.

Usage: bundle.py BUNDLE FOLDER HOLDER CHECKPOINT

BUNDLE is containerd's folder for the container, FOLDER the holder's, HOLDER the pid whose network namespace the
container gets (0: the one the configuration names). Writes into FOLDER: `sysctls` (lines "net/ipv4/NAME=VALUE"
that a restore does not re-apply) and `resources.json` (the limits to put back with `runc update`).

Limits are raised because runc puts CRIU and its scripts into the container's cgroup before the restore
(libcontainer criuApplyCgroups): up to 5 processes and 3 MB were measured, and with many processes in CHECKPOINT
their square, since each begins as a copy of a CRIU that knows them all (docs/many.md).
"""

import json
import os
import sys
from typing import Any

SPARE_PIDS = 32
SPARE_MEMORY = 64 << 20
SPARE_OF_A_PAIR = 1000


def processes_of(checkpoint: str) -> int:
    """How many processes were saved; 0 where that is not known."""
    try:
        with open(os.path.join(checkpoint, "tasks"), encoding="utf-8") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0


def with_room(resources: dict[str, Any], processes: int) -> dict[str, Any]:
    """The old values of what had to be raised in `resources`, which is changed in place."""
    spare = SPARE_MEMORY + processes**2 * SPARE_OF_A_PAIR
    old: dict[str, Any] = {}
    pids = resources.get("pids") or {}
    if (pids.get("limit") or 0) > 0:
        old["pids"] = dict(pids)
        pids["limit"] += SPARE_PIDS
    memory = resources.get("memory") or {}
    if (memory.get("limit") or 0) > 0:
        old["memory"] = {key: memory[key] for key in ("limit", "swap", "reservation") if memory.get(key)}
        memory["limit"] += spare
        if (memory.get("swap") or 0) > 0:
            memory["swap"] += spare
    return old


def sysctls(settings: dict[str, str]) -> str:
    """The network settings among `settings` as lines of paths below /proc/sys."""
    return "".join(
        f"{name.replace('.', '/')}={value}\n"
        for name, value in settings.items()
        if name.startswith("net.") and "\n" not in name + value
    )


def write(path: str, text: str) -> None:
    """Replace a file as a whole."""
    # The environment is in it.
    private = os.open(f"{path}.guardian", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(private, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(f"{path}.guardian", path)


def main(bundle: str, folder: str, holder: str, checkpoint: str) -> None:
    """Rewrite the bundle; any exception ends with a traceback and status 1, which fails the restore."""
    path = os.path.join(bundle, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    linux = config.get("linux") or {}
    if holder != "0":
        for namespace in linux["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = f"/proc/{holder}/ns/net"
    for mount in config.get("mounts") or []:
        # CRIU: `mnt-v2: Can't remount ... with MS_PRIVATE` where the source is a symbolic link (docker-init on Debian).
        if mount.get("source", "").startswith("/"):
            mount["source"] = os.path.realpath(mount["source"])
    old = with_room(linux.get("resources") or {}, processes_of(checkpoint))
    if old:
        write(os.path.join(folder, "resources.json"), json.dumps(old))
    write(os.path.join(folder, "sysctls"), sysctls(linux.get("sysctl") or {}))
    write(path, json.dumps(config))


if __name__ == "__main__":
    main(*sys.argv[1:5])
