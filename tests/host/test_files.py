"""guardianctl files: what a checkpoint keeps of a container's files is what was there."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from tests.host.site import Site

DELETED = "content of a deleted file\n" * 10


@pytest.fixture
def planted(site: Site) -> Site:
    """A container with files of every kind."""
    site.program("planted", "planted /tmp", "--tmpfs /scratch")
    site.machine.wait_until_succeeds("docker exec planted cat /tmp/ready")
    site.machine.succeed(
        "docker exec planted sh -c 'echo in tmpfs >/scratch/inside; rm /etc/debian_version;"
        ' printf name >"/tmp/$(printf "a\\033[1mb")"; ln /tmp/kept /tmp/linked; ln -s /etc/passwd /tmp/link;'
        " echo changed >>/etc/issue; rm -r /etc/default && mkdir /etc/default'"
    )
    return site


def taken(site: Site, path: str) -> str:
    return site.machine.succeed(f"guardianctl files planted@1 --take '{path}'")


def listed(site: Site, path: str = "/") -> dict[str, dict[str, Any]]:
    found = json.loads(site.machine.succeed(f"guardianctl files planted@1 --json '{path}'"))
    return {item["path"]: item for item in found}


@pytest.mark.parametrize("way", ["", "--leave-running"])
def test_files_of_every_source(planted: Site, way: str) -> None:
    machine = planted.machine
    machine.succeed(f"guardianctl checkpoint {way} planted")
    if way:  # what comes later is not in it
        machine.succeed("docker exec planted sh -c 'echo later >/tmp/kept; echo new >/tmp/new'")
    found = listed(planted)
    assert found["/tmp/kept"]["source"] == "layer"
    assert found["/scratch/inside"]["source"] == "tmpfs"
    assert found["/dev/shm/planted"]["source"] == "shm"
    assert found["/tmp/deleted (deleted)"] | {"modified": 0} == {
        "source": "deleted",
        "path": "/tmp/deleted (deleted)",
        "mode": "-rw-r-----",
        "permissions": "0640",
        "uid": 0,
        "gid": 0,
        "size": len(DELETED),
        "modified": 0,
        "target": "",
        "device": [0, 0],
    }
    assert found["/tmp/link"]["target"] == "/etc/passwd"
    assert "/tmp/new" not in found
    assert not [path for path in found if "link_remap" in path or "debian_version" in path]
    assert taken(planted, "/tmp/kept") == "0123456789" * 100
    assert taken(planted, "/tmp/linked") == "0123456789" * 100
    assert taken(planted, "/scratch/inside") == "in tmpfs\n"
    assert taken(planted, "/dev/shm/planted") == "in shared memory"
    assert taken(planted, "/tmp/deleted") == DELETED
    assert taken(planted, "/tmp/deleted (deleted)") == DELETED
    assert list(listed(planted, "/scratch")) == ["/scratch", "/scratch/inside"]
    shown = machine.succeed("guardianctl files planted@1 /tmp")
    assert "\033" not in shown
    assert "/tmp/a\\x1b[1mb" in shown


def test_a_tar_of_them(planted: Site) -> None:
    machine = planted.machine
    machine.succeed("guardianctl checkpoint planted; guardianctl files planted@1 --tar /root/files.tar")
    assert machine.succeed("stat -c %a /root/files.tar").strip() == "600"
    assert machine.execute("guardianctl files planted@1 --tar /root/files.tar")[0] == 4
    machine.succeed("mkdir -p /root/out && tar -C /root/out -xf /root/files.tar && rm /root/files.tar")
    assert machine.read("/root/out/tmp/deleted (deleted)") == DELETED
    assert machine.read("/root/out/dev/shm/planted") == "in shared memory"
    assert machine.succeed("readlink /root/out/tmp/link; rm -r /root/out").strip() == "/etc/passwd"


def test_refusals(planted: Site) -> None:
    machine = planted.machine
    assert machine.execute("guardianctl files nobody")[0] == 4
    machine.succeed("guardianctl checkpoint planted")
    assert machine.execute("guardianctl files planted@1 --take /tmp")[0] == 4
    assert machine.execute("guardianctl files planted@1 --take /no/such")[0] == 4
    machine.succeed("guardianctl release --discard planted; docker start planted")
    told = machine.run("guardianctl files planted@1")
    assert "the container has run since" in told.stderr
    assert "/dev/shm/planted" in told.stdout
    assert "layer" not in told.stdout


def test_a_layer_too_large_for_a_snapshot(planted: Site) -> None:
    """Holes cost nothing; over a gibibyte of data and its files are not kept, and it is said."""
    machine = planted.machine
    machine.succeed(
        "docker exec planted truncate -s 20G /tmp/hole; guardianctl checkpoint --leave-running planted"
    )
    assert listed(planted)["/tmp/hole"]["size"] == 20 << 30
    machine.succeed("docker exec planted fallocate -l 1100M /tmp/large")
    machine.succeed("guardianctl checkpoint --leave-running planted")
    told = machine.run("guardianctl files planted@2")
    assert "files were not kept" in told.stderr
    assert "/scratch/inside" in told.stdout
    machine.succeed("docker exec planted rm /tmp/large")


def test_a_tar_to_a_pipe(planted: Site) -> None:
    planted.machine.succeed("guardianctl checkpoint --leave-running planted")
    planted.machine.succeed("guardianctl files planted@1 --tar - /tmp >/root/piped.tar")
    planted.machine.copy_from("/root/piped.tar", target := planted.machine.folder / "piped.tar")
    with tarfile.open(fileobj=io.BytesIO(target.read_bytes())) as archive:
        names = archive.getnames()
    assert "tmp/kept" in names
    assert not [name for name in names if not name.startswith("tmp")]
