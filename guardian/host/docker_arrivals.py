"""dockerd, asked to make what a container from elsewhere needs: image, networks, volumes, and the container itself."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from guardian.host import docker_networks
from guardian.host.command import run
from guardian.host.docker_engine import Engine
from guardian.model.container import Attachment
from guardian.model.errors import GuardianError, UnknownContainer

_CTR_LIMIT = 20.0


class Arrivals(Engine):
    """A connection to dockerd that makes things; loading an image takes its time."""

    def __init__(self) -> None:
        super().__init__(limit=600.0)

    def image_id(self, name: str) -> str:
        """The id of the image that a name means here; empty where there is none."""
        try:
            return str(self.image(name)["Id"])
        except UnknownContainer:
            return ""

    def load(self, data: Iterable[bytes]) -> None:
        """`docker load`."""
        self._call(lambda: list(self._client.api.load_image(data)))

    def make_network(self, item: Attachment) -> None:
        """Make a network as it was elsewhere; raises GuardianError."""
        self._call(lambda: docker_networks.create(self._client.api, item))

    def remove_network(self, name: str) -> None:
        """`docker network rm`."""
        self._call(lambda: self._client.api.remove_network(name))

    def connect(self, container_id: str, item: Attachment) -> None:
        """Connect a container to a network as it was."""
        self._call(lambda: docker_networks.connect(self._client.api, container_id, item))

    def make_volume(self, name: str, labels: Mapping[str, str]) -> Path:
        """Make a volume of this host's disk; returns where it is."""
        made = self._call(lambda: self._client.api.create_volume(name, labels=dict(labels)))
        return Path(str(made["Mountpoint"]))

    def remove_volume(self, name: str) -> None:
        """`docker volume rm`."""
        self._call(lambda: self._client.api.remove_volume(name))

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Make a container (API ContainerCreate), not started; returns its id."""
        made = self._call(lambda: self._client.api.create_container_from_config(dict(body), name))
        return str(made["Id"])

    def remove(self, container_id: str) -> None:
        """`docker rm -f -v` of a container that never ran, though dockerd may be about to start it."""
        self._call(lambda: self._client.api.remove_container(container_id, v=True, force=True), container_id)

    def rename(self, container_id: str, name: str) -> None:
        """`docker rename`."""
        self._call(lambda: self._client.api.rename(container_id, name), container_id)

    def users_of(self, volume: str) -> list[str]:
        """The ids of the containers that a volume is mounted in, whether they run or not."""
        found = self._call(lambda: self._client.api.containers(all=True, filters={"volume": volume}))
        return [str(item["Id"]) for item in found]

    def upper(self, container_id: str) -> Path:
        """The writable layer of a container that does not run; raises GuardianError where it is no overlay's."""
        shown = self.inspection(container_id)
        driver = shown.get("GraphDriver") or {}
        found = str((driver.get("Data") or {}).get("UpperDir") or "")
        if not found:
            # Docker does not say where containerd's snapshotter has it; containerd does.
            kind = str(driver.get("Name") or shown.get("Driver") or "overlayfs")
            argv = ["ctr", "-n", "moby", "snapshots", "--snapshotter", kind]
            text = run([*argv, "mounts", "/nowhere", container_id], limit=_CTR_LIMIT).output
            option = re.search(r"\bupperdir=([^,\s]+)", text)
            found = option[1] if option else ""
        if not found.startswith("/") or not Path(found).is_dir():
            raise GuardianError("its writable layer cannot be found", "it is no overlay")
        return Path(found)


def body_from(
    inspection: Mapping[str, Any], image: str, networks: Iterable[Attachment], old_id: str
) -> dict[str, Any]:
    """What ContainerCreate is asked for, from what `docker inspect` showed of the container elsewhere.

    `image` is the name or id to make it of. Only the network of its network mode is in it, others are connected after.
    """
    body = copy.deepcopy(dict(inspection["Config"]))
    host = copy.deepcopy(dict(inspection["HostConfig"]))
    host.pop("ContainerIDFile", None)
    body["Image"] = image
    mode = str(host.get("NetworkMode") or "default")
    for item in networks:
        if mode == item.network_id:
            mode = host["NetworkMode"] = item.name
        if item.name == mode and mode not in docker_networks.PREDEFINED:
            body["NetworkingConfig"] = {"EndpointsConfig": {mode: docker_networks.endpoint(item, old_id)}}
    body["HostConfig"] = host
    return body
