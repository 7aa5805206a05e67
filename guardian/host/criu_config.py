"""CRIU's configuration for one dump or restore, given by CRIU_CONFIG_FILE so that no shared file is touched."""

from __future__ import annotations

from guardian.host import paths

_COMMON = ("skip-in-flight", "link-remap", f"action-script {paths.COMMIT_SCRIPT}")


def dump(*, ghost_limit: int, external_network: int, own_lock: bool, skip_lock: bool) -> str:
    """The dump's. `external_network` is the network namespace's inode, 0 where runc declares it itself or there is
    none; `own_lock`: guardian has locked the namespace, CRIU's own lock is superfluous where it can be skipped.
    """
    lines = [*_COMMON, f"ghost-limit {ghost_limit}", _lock(own_lock and skip_lock)]
    if external_network:
        lines.append(f"external net[{external_network}]:extRootNetNS")
    return "\n".join(lines) + "\n"


def restore(*, skip_lock: bool, close_connections: bool) -> str:
    """The restore's. `close_connections`: all of them are dropped.

    CRIU's own lock is of no use here: the namespace was born locked, or the host's has our fence.
    """
    lines = [*_COMMON, _lock(skip_lock)]
    if close_connections:
        lines.append("tcp-close")
    return "\n".join(lines) + "\n"


def _lock(skip: bool) -> str:
    return "network-lock skip" if skip else "network-lock nftables"
