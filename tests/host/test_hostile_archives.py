"""guardianctl import of archives that lie: refused in plain words, with nothing changed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.host.archives import ARCHIVE, exported, fetched, refused, state_of
from tests.host.site import Site

DAMAGE: dict[str, Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]] = {}


def damage(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def keep(function: Callable[..., None]) -> Callable[..., None]:
        DAMAGE[name] = function
        return function

    return keep


def member(name: str, data: bytes = b"", **changes: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, data


@damage("a path that leads out")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.insert(1, member("checkpoint/../../../../root/evil", b"evil"))


@damage("an absolute path")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.insert(1, member("/root/evil", b"evil"))


@damage("a link")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.insert(1, member("checkpoint/x", type=tarfile.SYMTYPE, linkname="/etc/shadow"))


@damage("a device")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.insert(1, member("checkpoint/x", type=tarfile.BLKTYPE, devmajor=8))


@damage("a member twice")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.insert(1, members[0])


@damage("other content")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    place = next(at for at, (info, _) in enumerate(members) if info.name == "checkpoint/pages-1.img")
    info, data = members[place]
    members[place] = info, data[:-1] + bytes([data[-1] ^ 1])


@damage("a member less")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    del members[next(at for at, (info, _) in enumerate(members) if info.name == "guardian/proof")]


@damage("a member more")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.insert(1, member("checkpoint/more", b"more"))


@damage("no manifest")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.pop()


@damage("something behind the manifest")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append(member("checkpoint/more", b"more"))


def changed(into: list[tuple[tarfile.TarInfo, bytes]], **changes: Any) -> None:
    data = json.loads(into.pop()[1]) | changes
    into.append(member("guardian/manifest.json", json.dumps(data).encode()))


@damage("a newer format")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    changed(members, format=2)


@damage("another architecture")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    changed(members, architecture="riscv64")


def replaced(members: list[tuple[tarfile.TarInfo, bytes]], name: str, data: bytes) -> None:
    """Another content of a member, which the manifest agrees with."""
    for place, (info, _) in enumerate(members):
        if info.name == name:
            members[place] = member(name, data)
    said = json.loads(members[-1][1])["members"]
    for item in said:
        if item["name"] == name:
            item.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    changed(members, members=said)


def tarred(*items: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, data in items:
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@damage("a layer that leads out")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    replaced(members, "rootfs-diff.tar", tarred(member("../../evil", b"evil")))


@damage("a layer with a whiteout")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    replaced(members, "rootfs-diff.tar", tarred(member("evil", type=tarfile.CHRTYPE)))


@damage("deleted files that lead out")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    replaced(members, "deleted.files", b'["../../../etc/passwd"]')


@damage("a link in the layer, and a file behind it")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    link = member("out", type=tarfile.SYMTYPE, linkname="/root")
    replaced(members, "rootfs-diff.tar", tarred(link, member("out/evil", b"evil")))


@damage("a file deleted and there")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Found out when the container is made already: all of it is taken back."""
    replaced(members, "rootfs-diff.tar", tarred(member("evil", b"evil")))
    replaced(members, "deleted.files", b'["evil"]')


@damage("an owner that there cannot be")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    replaced(members, "rootfs-diff.tar", tarred(member("evil", b"evil", uid=-5)))


@damage("a file named like a folder")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.insert(0, member("checkpoint", b"evil"))


@damage("another proof")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    replaced(members, "guardian/proof", b"1 2 3\nx")


@damage("JSON without end")
def _(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    replaced(members, "guardian/container.json", b"[" * 200_000)


def test_what_is_found_out_while_things_are_made_is_taken_back(site: Site, tmp_path: Path) -> None:
    """A network's description that Python trips over, when another one is made: no traceback, nothing left."""
    site.redis("redis", "-v kept:/kept")
    site.machine.succeed("guardianctl checkpoint redis")
    exported(site, "redis", "--volumes all")
    plain = fetched(site, tmp_path)
    site.machine.succeed("docker rm -f redis; docker volume rm kept")
    with tarfile.open(plain) as archive:
        members = [(info, file.read()) for info in archive if (file := archive.extractfile(info)) is not None]
    record = json.loads(next(data for info, data in members if info.name == "guardian/record.json"))
    good = {"Scope": "local", "Driver": "bridge"}
    record["container"]["networks"] += [
        {"name": "good", "network_id": "x", "network": good},
        {"name": "evil", "network_id": "y", "network": {**good, "ConfigFrom": "no table"}},
    ]
    replaced(members, "guardian/record.json", json.dumps(record).encode())
    (tmp_path / "bad").write_bytes(tarred(*members))
    site.machine.copy_to(tmp_path / "bad", "/root/bad.tar")
    before = state_of(site)
    told = site.machine.run("guardianctl import /root/bad.tar")
    assert told.status == 1, told
    assert "the import failed" in told.stderr
    assert "Traceback" not in told.stderr
    assert state_of(site) == before


def test_hostile_archives_are_refused_and_nothing_is_changed(site: Site, tmp_path: Path) -> None:
    site.redis("redis")
    site.machine.succeed("guardianctl checkpoint redis")
    exported(site, "redis")
    plain = fetched(site, tmp_path)
    site.machine.succeed("docker rm -f redis")
    with tarfile.open(plain) as archive:
        original = [
            (info, file.read()) for info in archive if (file := archive.extractfile(info)) is not None
        ]
    for name, harm in DAMAGE.items():
        members = list(original)
        harm(members)
        (tmp_path / "bad").write_bytes(tarred(*members))
        site.machine.copy_to(tmp_path / "bad", "/root/bad.tar")
        assert refused(site, file="/root/bad.tar"), name
        site.machine.fail("find / -xdev -name evil | grep .")
    for whole in (ARCHIVE, "/root/plain.tar"):
        for cut in ("/ 2", "- 2000"):
            site.machine.succeed(f"head -c $(($(stat -c %s {whole}) {cut})) {whole} >/root/bad.tar")
            assert refused(site, file="/root/bad.tar"), (whole, cut)
    site.machine.succeed("head -c 100000 /dev/urandom >/root/bad.tar")
    refused(site, file="/root/bad.tar")
    # The good one is still good.
    site.machine.succeed(f"guardianctl import {ARCHIVE} --resume")
    assert site.outcome("redis") == "resumed"
