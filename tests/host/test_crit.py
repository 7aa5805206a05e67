"""Every field that crit shows of the same images, `inspect` shows with the same value."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.host.site import Site
from tests.host.test_inspect import plant

IMAGES = "/var/lib/guardian/store/*/*/img"


def crit(site: Site, image: str) -> list[dict[str, Any]]:
    """The entries of an image as `crit decode` has them."""
    found: dict[str, Any] = json.loads(site.machine.succeed(f"cd {IMAGES} && crit decode -i {image}"))
    return list(found["entries"])


def test_the_same_as_crit(site: Site) -> None:
    plant(site)
    site.machine.succeed("guardianctl snapshot planted")
    ours = json.loads(site.machine.succeed("guardianctl inspect --json planted@1"))
    by_pid = {process["pid"]: process for process in ours["processes"]}

    for entry in crit(site, "pstree.img"):
        process = by_pid[entry["pid"]]
        assert (process["parent"], process["group"], process["session"]) == (
            entry["ppid"],
            entry["pgid"],
            entry["sid"],
        )
        assert [thread["id"] for thread in process["threads"]] == entry["threads"]
    files = {entry["id"]: entry for entry in crit(site, "files.img")}
    for pid, process in by_pid.items():
        (core,) = crit(site, f"core-{pid}.img")
        assert process["name"] == core["tc"]["comm"]
        assert process["oom_score_adj"] == core["tc"].get("oom_score_adj", 0)
        registers = core["thread_info"]["gpregs"]
        assert process["threads"][0]["registers"] == {
            name: int(str(value), 0) for name, value in registers.items() if name != "mode"
        }
        creds = core["thread_core"]["creds"]
        ids = ("uid", "gid", "effective_uid", "effective_gid", "saved_uid", "saved_gid")
        theirs = [creds[name] for name in ("uid", "gid", "euid", "egid", "suid", "sgid")]
        assert [process["credentials"][name] for name in ids] == theirs
        (layout,) = crit(site, f"mm-{pid}.img")
        spans = [(int(str(vma["start"]), 0), int(str(vma["end"]), 0), vma["pgoff"]) for vma in layout["vmas"]]
        assert [(item["start"], item["end"], item["offset"]) for item in process["memory"]] == spans
        assert process["executable"] == files[layout["exe_file_id"]]["reg"]["name"]
        (place,) = crit(site, f"fs-{pid}.img")
        assert process["working_directory"] == files[place["cwd_id"]]["reg"]["name"]
        descriptors = crit(
            site, f"fdinfo-{core['ids']['files_id'] if 'ids' in core else ids_of(site, pid)}.img"
        )
        assert [(file["descriptor"], file["key"]) for file in process["files"]] == sorted(
            (entry["fd"], entry["id"]) for entry in descriptors
        )
    queues = crit(site, "pipes-data.img")
    assert [(pipe["id"], pipe["length"]) for pipe in ours["pipes"]] == [
        (one["pipe_id"], one["bytes"]) for one in queues
    ]


def ids_of(site: Site, pid: int) -> int:
    (found,) = crit(site, f"ids-{pid}.img")
    return int(found["files_id"])


def test_the_same_tree_and_maps_as_crit_explore(site: Site) -> None:
    plant(site)
    site.machine.succeed("guardianctl snapshot planted")
    ours = json.loads(site.machine.succeed("guardianctl inspect --json planted@1"))
    tree = site.machine.succeed(f"crit x {IMAGES} ps")
    shown = {int(line.split()[0]): line.split()[-1] for line in tree.splitlines()[1:]}
    assert shown == {process["pid"]: process["name"] for process in ours["processes"]}
    told = site.machine.succeed(f"crit x {IMAGES} mems")
    shown_spans = re.findall(r"([0-9a-f]+)-([0-9a-f]+)\s+[rwx-]{3}", told)
    found = {(int(begin, 16), int(end, 16)) for begin, end in shown_spans}
    spans = {(item["start"], item["end"]) for one in ours["processes"] for item in one["memory"]}
    assert found <= spans
    assert len(found) > 20
