"""A good archive, made on the spot by what `guardianctl export` writes with, small enough for a thousand a second."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import platform
import tarfile
from pathlib import Path
from typing import Any

from guardian.host import tree
from guardian.host.archive_writer import ArchiveWriter
from guardian.host.record import Record
from guardian.model import archive
from guardian.model.archive import Manifest, Volume
from guardian.model.container import Attachment, Container
from guardian.model.states import Purpose
from tests.fuzz.tar_pieces import Piece, pieces_of
from tests.unit.samples import bind, container, id_of, volume

TAKEN = 1_790_000_000.5
_NETWORK = {
    "Driver": "bridge",
    "Scope": "local",
    "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"}]},
    "Labels": {"own": "yes"},
}
_FLOW = ["10.77.0.9", 6379, "10.0.0.1", 40000]
_CONNECTIONS = {
    "format": 1,
    "connections": [
        {
            "flow": _FLOW,
            "peer": "outside",
            "name": "",
            "entry": {"original": _FLOW[2:] + _FLOW[:2], "reply": _FLOW, "timeout": 300},
        }
    ],
}
_ENDPOINT = {"Aliases": ["app"], "Links": ["db:db"], "IPAMConfig": {"IPv4Address": "10.77.0.9"}}


@dataclasses.dataclass(frozen=True)
class Whole:
    """The archive: its members but for the manifest, the manifest, and the members of the archives in it."""

    pieces: tuple[Piece, ...]
    manifest: dict[str, Any]
    nested: dict[str, tuple[Piece, ...]]


def _container() -> Container:
    own = Attachment(
        "own", "n" * 64, "10.77.0.9", mac="02:42:0a:4d:00:09", prefix4=24, driver="bridge", pinned=True
    )
    kept = dataclasses.replace(volume("kept"), destination="/kept")
    unnamed = dataclasses.replace(volume(id_of("unnamed")), destination="/unnamed")
    return container(
        networks=(dataclasses.replace(own, network=_NETWORK, endpoint=_ENDPOINT),),
        mounts=(kept, unnamed, bind("/")),
        labels={"guardian.enable": "true"},
    )


def _inspection(of: Container) -> dict[str, Any]:
    return {
        "Id": of.id,
        "Created": "2026-01-01T00:00:00Z",
        "Path": "/bin/app",
        "Args": ["--serve"],
        "Config": {
            "Image": "work:1",
            "Env": ["A=b"],
            "Labels": dict(of.labels),
            "Hostname": "app",
            "User": "",
        },
        "HostConfig": {"NetworkMode": "own", "Privileged": False, "CapAdd": ["NET_ADMIN"], "Devices": []},
    }


def _layer(folder: Path) -> bytes:
    """The archive of a folder with a file of each kind."""
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/file").write_bytes(b"in the layer\n" * 50)
    os.chmod(folder / "etc/file", 0o4755)
    os.link(folder / "etc/file", folder / "hard")
    (folder / "link").symlink_to("/etc")
    with (folder / "hole").open("wb") as file:
        file.seek(1 << 17)
        file.write(b"behind a hole")
    return _kept(folder)


def _volume(folder: Path) -> bytes:
    """The archive of a folder with one file."""
    folder.mkdir()
    (folder / "file").write_bytes(b"in a volume\n")
    return _kept(folder)


def _kept(folder: Path) -> bytes:
    stream = io.BytesIO()
    tree.write(folder, stream.write)
    return stream.getvalue()


def _image() -> bytes:
    """What `docker save` writes, as far as it is looked at."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for name, data in (
            ("manifest.json", [{"Config": "c.json", "RepoTags": ["work:1"], "Layers": ["l/layer.tar"]}]),
            ("index.json", {"manifests": [{"annotations": {"io.containerd.image.name": "work:1"}}]}),
            ("repositories", {"work": {"1": "0" * 64}}),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text := json.dumps(data).encode())
            out.addfile(info, io.BytesIO(text))
    return stream.getvalue()


def whole(scratch: Path) -> Whole:
    """The archive; `scratch` is a folder for what it is made of."""
    of = _container()
    record = Record(
        of, Purpose.SUSPEND, TAKEN, "boot", (of.id,), f"/sys/fs/cgroup/docker/{of.id}", True, 0, True
    )
    inspection = _inspection(of)
    nested = {
        "rootfs-diff.tar": _layer(scratch / "layer"),
        "guardian/volumes/kept.tar": _volume(scratch / "kept"),
    }
    image = _image()
    stream = io.BytesIO()
    out = ArchiveWriter(stream.write)
    out.json(archive.RECORD, record.to_json())
    out.json(archive.INSPECTION, inspection)
    out.json(archive.CONNECTIONS, _CONNECTIONS)
    out.data(archive.PROOF, b"1 2 3\n")
    out.json(archive.VOLUME_FACTS, {"kept": {"Driver": "local", "Options": None, "Labels": {"own": "yes"}}})
    out.folder(archive.IMAGES)
    for name in ("inventory.img", "pstree.img"):
        out.data(archive.IMAGES + name, name.encode() * 20)
    out.data("rootfs-diff.tar", nested["rootfs-diff.tar"])
    out.json("deleted.files", ["etc/issue"])
    out.data("guardian/volumes/kept.tar", nested["guardian/volumes/kept.tar"])
    out.parts(iter([image]))
    manifest = out.finish(
        Manifest(
            checkpoint="20260101T000000-abcdef",
            container_id=of.id,
            name=of.name,
            taken=TAKEN,
            purpose="suspend",
            architecture=platform.machine(),
            kernel=platform.release(),
            versions={"guardian": "0.1.0"},
            cgroup_driver="systemd",
            image_id=of.image_id,
            tags=("work:1",),
            digests=(),
            image_included=True,
            volumes=(Volume("kept", "/kept", True), Volume(id_of("unnamed"), "/unnamed", False)),
            members=(),
        )
    )
    pieces = pieces_of(stream.getvalue())
    parts = {name: tuple(pieces_of(data)) for name, data in nested.items()}
    parts["guardian/image.tar.000000"] = tuple(pieces_of(image))
    return Whole(tuple(pieces[:-1]), manifest.to_json(), parts)
