"""What a fault must not leave behind: holds, fences, locks, processes, mounts, cgroups, namespaces."""

from __future__ import annotations

import collections
import json
import os
from pathlib import Path

from tests.faults.bench import POLICIES, Bench
from tests.faults.host import processes

_SCRIPT = r"""
cd /run/guardian
for folder in holds tickets frozen dumps /var/lib/guardian/fence; do
    for file in $folder/*; do [ ! -e "$file" ] || echo "left: $file"; done
done
for folder in holders/*/; do [ ! -d "$folder" ] || [ -e "$folder/running" ] || echo "left: $folder"; done
for pid in $(docker inspect -f '{{.State.Pid}}' %(names)s); do
    nsenter -t $pid -n nft list tables | grep -q guardian && echo "left: a lock of pid $pid"
done
echo "count: containers $(docker ps -aq | wc -l)"
echo "count: networks $(docker network ls -q | wc -l)"
echo "count: scopes $(ls -d /sys/fs/cgroup/system.slice/docker-*.scope 2>/dev/null | wc -l)"
echo "count: holders $(ls holders | wc -l)"
echo "count: mounts $(grep -cE ' /(var/lib|run)/(docker|containerd|guardian)/' /proc/self/mountinfo)"
exit 0
"""
_NAMES = ("criu", "criu.real", "commit", "runc", "containerd-shim", "docker-proxy")
"""Names of processes, cut off as the kernel does (15 characters)."""

_NAMESPACES = ("net", "pid", "ipc", "cgroup")


def counts(bench: Bench) -> dict[str, int]:
    """How many there are of what must stay as many; raises AssertionError for what must not be there at all."""
    told = bench.host.succeed(_SCRIPT % {"names": " ".join(POLICIES)}).splitlines()
    left = [line for line in told if line.startswith("left: ")]
    assert not left, "; ".join(left)
    found = {line.split()[1]: int(line.split()[2]) for line in told if line.startswith("count: ")}
    holders = found.pop("holders")
    for name in ("guardian-holder", "guardian-guard"):
        there = len(processes(bench.host, name))
        assert there == holders, f"{there} {name} for {holders} restored containers"
    found |= {f"process {name}": len(processes(bench.host, name)) for name in _NAMES}
    return found | _namespaces(bench)


def _namespaces(bench: Bench) -> dict[str, int]:
    """How many namespaces of each kind the processes of the host are in."""
    found: dict[str, set[int]] = collections.defaultdict(set)
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if _is_below(entry, bench.host.init):
                for kind in _NAMESPACES:
                    found[kind].add(os.stat(f"/proc/{entry}/ns/{kind}").st_ino)
        except OSError:
            continue  # it has ended
    return {f"namespaces {kind}": len(found[kind]) for kind in _NAMESPACES}


def _is_below(pid: str, ancestor: int) -> bool:
    """Whether a process descends from the host's init, in whatever namespace it is."""
    while pid not in ("0", "1"):
        if int(pid) == ancestor:
            return True
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = stat[stat.rindex(")") + 2 :].split()[1]
    return False


def differences(before: dict[str, int], after: dict[str, int]) -> str:
    """What there is more or less of."""
    changed = {key: [before[key], after[key]] for key in before if before[key] != after[key]}
    return json.dumps(changed) if changed else ""
