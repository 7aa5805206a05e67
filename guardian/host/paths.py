"""Where guardian's things lie on a host: one place for each path."""

from __future__ import annotations

from pathlib import Path

RUN = Path("/run/guardian")
HOLDS = RUN / "holds"
TICKETS = RUN / "tickets"
HOLDERS = RUN / "holders"
FROZEN = RUN / "frozen"
FACTS = RUN / "facts"
DUMPS = RUN / "dumps"
RESTORES = RUN / "restores"
"""A folder for each restore under way: what is decided anew each time, and needs no block of a full disk."""
RESULTS = RUN / "results"
"""What became of checkpoints whose own folder could not be written."""
WORKER_SOCKET = RUN / "worker.sock"

STATE = Path("/var/lib/guardian")
STORE_LINK = STATE / "store"
"""A link to the configured store, for what is written in /bin/sh and reads no configuration."""
FENCE = STATE / "fence"
"""One file for each fenced container. Not in the store: it is read before the network is up."""
FENCE_SOCKET = RUN / "fence.sock"
UNSAVED = STATE / "unsaved"
"""One file for each container that could be neither saved nor written down in the store."""
UNSAVED_RUN = RUN / "unsaved"
NEXT_BOOT = STATE / "next-boot"
"""One file for each container that is to start cold at the next boot, and `all`; guardian-hold.service takes them."""
COLD_ONCE = STATE / "cold-once"
"""A file that makes the next boot a cold one; removed by guardian-hold.service."""

CONFIGURATION = Path("/etc/guardian/guardian.toml")
STORE_KEY = Path("/etc/credstore.encrypted/guardian.store-key")
"""What systemd-creds has encrypted: the key of encrypted images."""
HOOKS = CONFIGURATION.parent / "hooks"
"""The administrator's executables; labels name them."""
LIBEXEC = Path("/usr/libexec/docker-guardian")
FRONT_FOLDER = LIBEXEC / "path"
CANARY = LIBEXEC / "canary"
COMMIT_SCRIPT = LIBEXEC / "commit"


def runc_roots() -> list[Path]:
    """Where runc keeps dockerd's containers (moby daemon/runtime_unix.go); with userns-remap `moby-UID.GID` (seen)."""
    return sorted(Path("/run/docker/runtime-runc").glob("moby*"))
