"""guardianctl export and import: a checkpoint goes elsewhere and lives on there."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

from tests.host.site import Site

ARCHIVE = "/root/archive.tar.zst"


def exported(site: Site, name: str, *options: str) -> None:
    site.machine.succeed(f"rm -f {ARCHIVE}; guardianctl export {name} -o {ARCHIVE} {' '.join(options)}")


def fetched(site: Site, folder: Path) -> Path:
    """The archive on this computer, without its compression."""
    site.machine.succeed(f"zstd -dqf {ARCHIVE} -o /root/plain.tar")
    site.machine.copy_from("/root/plain.tar", folder / "plain.tar")
    return folder / "plain.tar"


def manifest_of(path: Path) -> dict[str, Any]:
    with tarfile.open(path) as archive:
        assert archive.getnames()[-1] == "guardian/manifest.json"
        file = archive.extractfile("guardian/manifest.json")
        assert file is not None
        found: dict[str, Any] = json.load(file)
        assert {item["name"] for item in found["members"]} == {
            member.name for member in archive if member.isreg()
        } - {"guardian/manifest.json"}
        for item in found["members"]:
            member = archive.extractfile(item["name"])
            assert member is not None
            data = member.read()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (item["size"], item["sha256"])
    return found


def test_an_archive_is_what_its_manifest_says(site: Site, tmp_path: Path) -> None:
    site.redis("redis", "-v kept:/kept")
    site.machine.succeed(
        "docker exec redis sh -c 'echo in the layer >/root/file; echo in a volume >/kept/file'"
    )
    site.machine.succeed("guardianctl checkpoint redis")
    exported(site, "redis", "--with-image", "--volumes all")
    assert site.machine.succeed(f"stat -c %a {ARCHIVE}").strip() == "600"
    found = manifest_of(fetched(site, tmp_path))
    assert found["tags"] == ["work:1"]
    assert found["image_included"]
    assert found["volumes"] == [{"name": "kept", "destination": "/kept", "included": True}]
    names = {item["name"] for item in found["members"]}
    assert {"config.dump", "spec.dump", "network.status", "stats-dump", "dump.log"} < names
    assert {"rootfs-diff.tar", "deleted.files", "checkpoint/pages-1.img", "guardian/volumes/kept.tar"} < names
    # The image can be had by hand.
    site.machine.succeed("tar -xOf /root/plain.tar --wildcards 'guardian/image.tar.*' | docker load")
    assert site.machine.execute(f"guardianctl export redis -o {ARCHIVE}")[0] == 4


def test_checkpointctl_reads_it(site: Site) -> None:
    site.redis("redis")
    site.machine.succeed("guardianctl checkpoint redis")
    exported(site, "redis", "--compress none")
    shown = site.machine.succeed(f"checkpointctl show {ARCHIVE}")
    assert "redis" in shown
    assert "work:1" in shown
    told = site.machine.succeed(f"checkpointctl inspect --all {ARCHIVE}")
    for part in (
        "Image: work:1",
        "CRIU dump statistics",
        "[TCP (LISTEN)]  0.0.0.0:6379",
        "Root FS diff size",
    ):
        assert part in told
    exported(site, "redis")
    assert "redis-server" in site.machine.succeed(f"checkpointctl inspect --ps-tree {ARCHIVE}")


def test_a_pipe_and_a_key(site: Site) -> None:
    machine = site.machine
    site.redis("redis")
    machine.succeed("guardianctl checkpoint --leave-running redis")
    machine.succeed("guardianctl export redis -o - | zstd -d | tar -t | grep -x guardian/manifest.json")
    key = machine.succeed(
        "rm -f /root/key; age-keygen -o /root/key 2>/dev/null; age-keygen -y /root/key"
    ).strip()
    machine.succeed(f"guardianctl export redis -o - --encrypt-to {key} >/root/secret")
    machine.succeed("age -d -i /root/key /root/secret | zstd -d | tar -t | grep -x rootfs-diff.tar")
    assert machine.execute("guardianctl export redis -o /root/wrong --encrypt-to age1nonsense")[0] == 1
    machine.fail("ls /root/wrong /root/.wrong*")
