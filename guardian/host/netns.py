"""A container's network namespace: locked while the container is away from it, so that the kernel answers nobody."""

from __future__ import annotations

from guardian.host.command import run

_TABLE = "guardian_lock"
# The same rules as in runtime/network.c.
_NEIGHBOURS = (
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept;"
)
_LOCK = f"""table inet {_TABLE} {{
 chain in {{ type filter hook input priority -400; policy drop; iifname "lo" accept; {_NEIGHBOURS} }}
 chain out {{ type filter hook output priority -400; policy drop; oifname "lo" accept; {_NEIGHBOURS} }}
}}
"""
# Adding before deleting makes the deletion succeed where there is nothing to delete.
_UNLOCK = f"table inet {_TABLE} {{ }}\ndelete table inet {_TABLE}\n"
_LIMIT = 10.0


def lock(pid: int) -> None:
    """Drop every packet of the namespace of `pid` but loopback's; raises CommandFailed."""
    _nft(pid, _UNLOCK + _LOCK)


def unlock(pid: int) -> None:
    """Undo `lock`; nothing where it is not locked."""
    _nft(pid, _UNLOCK)


def _nft(pid: int, rules: str) -> None:
    run(["nsenter", f"--net=/proc/{pid}/ns/net", "nft", "-f", "-"], limit=_LIMIT, text=rules)
