"""guardianctl export and import: a checkpoint goes elsewhere and lives on there."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.host.archives import ARCHIVE, exported, fetched, refused
from tests.host.site import Site
from tests.machines import ContainerHost
from tests.machines.recipes import known_suites


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


def test_a_container_comes_back_after_it_was_removed(site: Site) -> None:
    machine = site.machine
    machine.succeed("docker network create --subnet 10.77.0.0/24 own")
    before = site.redis(
        "redis", "-v kept:/kept -p 7777:6379 --network own --hostname keeper --pids-limit 300 --label own=yes"
    )
    machine.succeed(
        "docker exec redis sh -c 'echo in the layer >/root/file; echo in a volume >/kept/file; rm /etc/issue'"
    )
    configuration = ("{{json .Config}}", "{{json .HostConfig}}")
    was = [site.inspect("redis", template) for template in configuration]
    machine.succeed("guardianctl checkpoint redis")
    exported(site, "redis", "--volumes all")
    machine.succeed("docker rm -f redis; docker network rm own; docker volume rm kept")
    machine.succeed(f"guardianctl import {ARCHIVE} --resume")
    assert site.outcome("redis") == "resumed"
    assert site.seen_in("redis") == before
    assert machine.succeed("docker exec redis cat /root/file /kept/file /etc/hostname") == (
        "in the layer\nin a volume\nkeeper\n"
    )
    machine.fail("docker exec redis ls /etc/issue")
    assert machine.succeed("docker port redis").startswith("6379/tcp -> 0.0.0.0:7777")
    assert [site.inspect("redis", template) for template in configuration] == was
    # It is a guarded container like any other.
    site.restart_docker()
    assert site.seen_in("redis") == before
    # And no image runs twice.
    told = machine.run(f"guardianctl import {ARCHIVE} --name again --volumes use")
    assert told.status == 4
    assert "must not run a second time" in told.stderr


def test_on_a_second_host(site: Site, package: Path, tmp_path: Path) -> None:
    before = site.redis("redis", "-v kept:/kept")
    site.machine.succeed(
        "docker exec redis sh -c 'echo in the layer >/root/file; echo in a volume >/kept/file'"
    )
    site.machine.succeed("guardianctl checkpoint redis")
    exported(site, "redis", "--volumes all", "--with-image")
    site.machine.copy_from(ARCHIVE, tmp_path / "archive")
    with ContainerHost(os.environ.get("HOST") or known_suites()[0]) as host:
        second = Site(host)
        if os.environ.get("STORE") == "containerd":
            second.use_containerds_image_store()
        second.install(package)
        host.succeed("docker rmi work:1")
        host.copy_to(tmp_path / "archive", ARCHIVE)
        told = host.succeed(f"guardianctl import {ARCHIVE} --name moved --hold")
        assert "guardianctl restore moved" in told
        assert second.list()["moved"]["state"] == "held"
        host.fail("docker start moved")
        host.succeed("guardianctl restore moved")
        assert second.outcome("moved") == "resumed"
        assert second.seen_in("moved") == before
        assert host.succeed("docker exec moved cat /root/file /kept/file") == "in the layer\nin a volume\n"


def test_a_snapshot_with_files_of_every_kind(site: Site) -> None:
    """What it had open goes on: deleted files, removed names with other links, tmpfs, /dev/shm."""
    machine = site.machine
    site.program("files", "files /var/tmp /dev/shm /scratch", "--tmpfs /scratch")
    site.wait_for(lambda: last(site, "files")["n"] > 3)
    machine.succeed("guardianctl checkpoint --leave-running files")
    before = last(site, "files")
    exported(site, "files")
    told = machine.run(f"guardianctl import {ARCHIVE} --name copy --resume")
    assert told.status == 4
    assert "files, which it was taken of, goes on" in told.stderr
    machine.succeed(f"docker rm -f files; guardianctl import {ARCHIVE} --name copy --resume")
    assert site.outcome("copy") == "resumed"
    site.wait_for(lambda: last(site, "copy")["n"] > 3)
    now = last(site, "copy")
    assert now["wrong"] == []
    assert now["n"] < before["n"] + 1000


LINKED = """\
import os, time
file = open("/var/tmp/a", "w+")
os.link("/var/tmp/a", "/var/tmp/b")
os.unlink("/var/tmp/a")
n = 0
while True:
    n += 1
    file.seek(0)
    file.write(str(n))
    file.flush()
    file.seek(0)
    same = os.path.samestat(os.fstat(file.fileno()), os.stat("/var/tmp/b"))
    print('{"n": %d, "wrong": [%s]}' % (n, "" if file.read() == str(n) and same else 1), flush=True)
    time.sleep(0.1)
"""


@pytest.mark.parametrize("way", ["", "--leave-running"])
def test_a_removed_name_with_another_link(site: Site, way: str) -> None:
    machine = site.machine
    machine.write("/root/linked.py", LINKED)
    site.run("linked", "python3 -u /linked.py", "-v /root/linked.py:/linked.py:ro")
    site.wait_for(lambda: last(site, "linked")["n"] > 3)
    machine.succeed(f"guardianctl checkpoint {way} linked")
    exported(site, "linked")
    machine.succeed(f"docker rm -f linked; guardianctl import {ARCHIVE} --resume")
    assert (site.outcome("linked"), site.reason("linked")) == ("resumed", "")
    site.wait_for(lambda: last(site, "linked")["n"] > 3)
    assert last(site, "linked")["wrong"] == []


def last(site: Site, name: str) -> dict[str, Any]:
    said = site.machine.succeed(f"docker logs --tail 1 {name}")
    return dict(json.loads(said)) if said else {"n": 0}


def test_connections_are_closed_and_counted(site: Site) -> None:
    site.program("server", "server 80", "-p 8080:80")
    site.machine.succeed(
        "systemd-run --unit=talking python3 -c 'import socket, time;"
        ' s = socket.create_connection(("127.0.0.1", 8080)); s.send(b"x"); time.sleep(1e6)\''
    )
    site.wait_for(lambda: "ESTAB" in site.machine.succeed("ss -tn state all dport = :8080"))
    site.machine.succeed("guardianctl checkpoint server")
    exported(site, "server")
    site.machine.succeed("docker rm -f server; systemctl stop talking")
    told = site.machine.succeed(f"guardianctl import {ARCHIVE}")
    assert "its 1 connections will be closed" in told
    site.machine.succeed("guardianctl restore server")
    assert site.outcome("server") == "resumed"
    assert "it was imported, its 1 connections were closed" in site.reason("server")


def test_what_is_in_the_way_is_named(site: Site) -> None:
    machine = site.machine
    site.redis("redis", "-v kept:/kept -v /srv/bound:/bound")
    machine.succeed("docker exec redis touch /kept/file; guardianctl checkpoint redis")
    exported(site, "redis")
    assert "there is a container 'redis' already" in refused(site)
    assert "it waits here to be resumed as redis" in refused(site, "--name other", "--volumes use")
    machine.succeed("docker rm -f redis")
    assert "kept with content already" in refused(site)
    machine.succeed("mv /srv/bound /srv/away")
    assert "'/srv/bound' is not there" in refused(site, "--volumes use")
    machine.succeed("mv /srv/away /srv/bound; docker volume rm kept")
    assert "not in the archive" in refused(site)
    machine.succeed("docker volume create kept; docker tag work:1 put-away:1; docker save -o /root/i work:1")
    machine.succeed("docker rmi work:1 put-away:1")
    assert "work:1 is not here" in refused(site)
    machine.succeed("docker load -i /root/i; rm /root/i")
    machine.succeed(f"guardianctl import {ARCHIVE} --resume")
    assert site.outcome("redis") == "resumed"


def test_an_encrypted_archive_comes_through_a_pipe(site: Site) -> None:
    machine = site.machine
    before = site.redis("redis")
    machine.succeed("guardianctl checkpoint redis")
    key = machine.succeed(
        "rm -f /root/key; age-keygen -o /root/key 2>/dev/null; age-keygen -y /root/key"
    ).strip()
    machine.succeed(f"rm -f /root/secret; guardianctl export redis -o /root/secret --encrypt-to {key}")
    machine.succeed("docker rm -f redis")
    assert "--identity" in refused(site, file="/root/secret")
    machine.succeed("cat /root/secret | guardianctl import - --identity /root/key --resume")
    assert site.seen_in("redis") == before
