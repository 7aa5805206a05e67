"""The example that hangs shows why, in what docs/inspect.md says to look at."""

from __future__ import annotations

import json
from pathlib import Path

from tests.host.site import Site

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_hung_example_says_why(site: Site) -> None:
    site.machine.copy_to(EXAMPLES / "hung.py", "/root/hung.py")
    site.run("hung", "python3 /hung.py", "-v /root/hung.py:/hung.py:ro", guarded=False)
    # A thread that has just been let go by the last look may not be back in its system call.
    site.wait_for(lambda: calls(site) == [1, 61])  # write; wait4
    told = site.machine.succeed("guardianctl inspect hung --files 2>/dev/null")
    full = [line for line in told.splitlines() if "65536 bytes: a line of the report" in line]
    assert [line.split("\t")[0] for line in full] == [str(pid) for pid in pids(site)], (
        "the one that waits holds the end to read it from"
    )


def calls(site: Site) -> list[int]:
    """The system calls that the processes are in."""
    found = json.loads(site.machine.succeed("guardianctl inspect --json hung 2>/dev/null"))
    return sorted(process["threads"][0]["system_call"] for process in found["processes"])


def pids(site: Site) -> list[int]:
    found = json.loads(site.machine.succeed("guardianctl inspect --json hung 2>/dev/null"))
    return [process["pid"] for process in found["processes"]]
