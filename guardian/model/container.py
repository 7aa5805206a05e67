"""What is known of one container: facts as dockerd reported them, in a form that outlives dockerd."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterator, Mapping
from typing import Any

from guardian.model import plain
from guardian.model.errors import BadInput

_ID = re.compile(r"[0-9a-f]{64}\Z")


def is_container_id(text: str) -> bool:
    """Whether `text` is a full container id, and so safe as a file name."""
    return _ID.match(text) is not None


class RestartPolicy(enum.Enum):
    """Docker's restart policies (moby api/types/container/hostconfig.go)."""

    NO = "no"
    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    UNLESS_STOPPED = "unless-stopped"


@dataclasses.dataclass(frozen=True)
class Attachment:
    """One network the container is on. Addresses are text without prefix length, empty where there is none.

    `driver` is Docker's ("bridge", "macvlan", ...), empty where the network could not be looked up.
    `pinned`: the IPv4 address was asked for (`--ip`). `network` is what the network was made with, `endpoint` what
    the container asked of it (aliases, addresses), both as Docker's API says it: to make the network anew.
    """

    name: str
    network_id: str
    address4: str = ""
    address6: str = ""
    mac: str = ""
    prefix4: int = 0
    prefix6: int = 0
    driver: str = ""
    pinned: bool = False
    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    endpoint: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def addresses(self) -> Iterator[tuple[str, int]]:
        """Each address with its prefix length."""
        for text, prefix in ((self.address4, self.prefix4), (self.address6, self.prefix6)):
            if text:
                yield text, prefix


@dataclasses.dataclass(frozen=True)
class Mount:
    """One mount of the container. `volume` is empty for a bind mount or tmpfs; `source` is a path of the host."""

    kind: str
    source: str
    destination: str
    writable: bool
    volume: str = ""


@dataclasses.dataclass(frozen=True)
class Healthcheck:
    """The command dockerd asks for health. `argv` is empty where there is none; `timeout` is in seconds."""

    argv: tuple[str, ...] = ()
    timeout: float = 30.0


@dataclasses.dataclass(frozen=True)
class Container:
    """Facts of one container.

    `pid` is dockerd's State.Pid (a holder after a restore), 0 when not running. `started_at` is dockerd's string,
    compared for equality. `stop_timeout` is in seconds. `network_mode`, `ipc_mode`, `pid_mode` are Docker's own
    strings. `layer` is the writable layer's folder where dockerd tells it, else empty. `error` is dockerd's message
    of the last start. `links` and `volumes_from` are names or ids of other containers. `remapped`: it has a user
    namespace of its own. `config_hash` covers what decides how the container is built (image, config, host config).
    """

    id: str
    name: str
    image_id: str
    config_hash: str
    labels: Mapping[str, str]
    image_labels: Mapping[str, str]
    running: bool
    paused: bool
    pid: int
    started_at: str
    restart_policy: RestartPolicy
    auto_remove: bool
    terminal: bool
    stop_signal: str
    stop_timeout: float
    runtime: str
    network_mode: str
    ipc_mode: str
    pid_mode: str
    networks: tuple[Attachment, ...]
    mounts: tuple[Mount, ...]
    healthcheck: Healthcheck
    layer: str
    error: str = ""
    links: tuple[str, ...] = ()
    volumes_from: tuple[str, ...] = ()
    remapped: bool = False

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        data = dataclasses.asdict(self)
        data["restart_policy"] = self.restart_policy.value
        data["labels"] = dict(self.labels)
        data["image_labels"] = dict(self.image_labels)
        return data

    @classmethod
    def from_json(cls, data: Any) -> Container:
        """The container in `data`; raises BadInput for anything `to_json` would not have written."""
        try:
            container = plain.made(cls, data)
        except ValueError as error:
            raise BadInput("container facts do not parse", str(error)) from error
        if not is_container_id(container.id):
            raise BadInput("container facts do not parse", f"{container.id!r} is not a container id")
        return container
