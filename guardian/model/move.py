"""A move of containers from one host to another: what is offered, and what can be decided without looking anywhere."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from guardian.model.archive import Manifest
from guardian.model.errors import BadInput
from guardian.model.wording import quoted

PROTOCOL = 1
"""Raised when an older guardian could misunderstand what is said between the hosts."""
MOST_MEMBERS = 1000
_MOVE = re.compile(r"[0-9a-f]{32}")
_NUMBERS = re.compile(r"[0-9]+")


@dataclasses.dataclass(frozen=True)
class Size:
    """Bytes that a container will send: memory at most, volumes and writable layer as they are now."""

    memory: int
    files: int


@dataclasses.dataclass(frozen=True)
class Offered:
    """One container: as an export would describe it, and how large it is. `record` is parsed by who uses it."""

    manifest: Manifest
    record: Mapping[str, Any]
    inspection: Mapping[str, Any]
    volumes: Mapping[str, Any]
    size: Size

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {
            "manifest": self.manifest.to_json(),
            "record": dict(self.record),
            "inspection": dict(self.inspection),
            "volumes": dict(self.volumes),
            "size": dataclasses.asdict(self.size),
        }

    @classmethod
    def from_json(cls, data: Any) -> Offered:
        """Raises BadInput."""
        found = cls(
            manifest=Manifest.from_json(_key(data, "manifest")),
            record=_table(data, "record"),
            inspection=_table(data, "inspection"),
            volumes=_table(data, "volumes"),
            size=Size(**{key: _count(_table(data, "size"), key) for key in ("memory", "files")}),
        )
        for part in ("Config", "HostConfig"):
            _table(found.inspection, part)
        return found


@dataclasses.dataclass(frozen=True)
class Offer:
    """What the source says first. `host` is its own name, `cpu` the processor as `criu cpuinfo dump` writes it, in hex.

    `names` gives containers another name there; `use_volumes`: those that are there are overwritten.
    """

    move: str
    host: str
    guardian: str
    cpu: str
    members: tuple[Offered, ...]
    names: Mapping[str, str]
    overwrite_volumes: bool

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {
            "protocol": PROTOCOL,
            "move": self.move,
            "host": self.host,
            "guardian": self.guardian,
            "cpu": self.cpu,
            "members": [member.to_json() for member in self.members],
            "names": dict(self.names),
            "overwrite_volumes": self.overwrite_volumes,
        }

    @classmethod
    def from_json(cls, data: Any) -> Offer:
        """Raises BadInput for anything `to_json` would not have written, and for another protocol."""
        if _key(data, "protocol") != PROTOCOL:
            raise BadInput(
                f"the other guardian speaks protocol {quoted(data['protocol'])}",
                f"this one speaks {PROTOCOL}",
                hint="install the same guardian on both hosts",
            )
        members, names = _key(data, "members"), _table(data, "names")
        if not isinstance(members, list) or not 0 < len(members) <= MOST_MEMBERS:
            raise BadInput("the offer does not parse", "members")
        found = cls(
            move=move_id(_key(data, "move")),
            host=_text(data, "host"),
            guardian=_text(data, "guardian"),
            cpu=_text(data, "cpu", most=1 << 16),
            members=tuple(Offered.from_json(member) for member in members),
            names={str(key): _text(names, key) for key in names},
            overwrite_volumes=_key(data, "overwrite_volumes") is True,
        )
        ids = [member.manifest.container_id for member in found.members]
        if len(set(ids)) != len(ids):
            raise BadInput("the offer does not parse", "a container is in it twice")
        return found


def move_id(value: object) -> str:
    """A move's id; raises BadInput for anything else."""
    if not isinstance(value, str) or not _MOVE.fullmatch(value):
        raise BadInput("a move's id does not parse", quoted(value))
    return value


def incompatible(there: Manifest, *, criu: str, cgroup_driver: str, architecture: str) -> Iterator[str]:
    """Why what was taken on a host like `there` cannot be restored here, as far as versions tell."""
    if there.architecture != architecture:
        yield f"the processor is {quoted(there.architecture)} there and {architecture} here"
    theirs = there.versions.get("criu", "")
    if _version(theirs) > _version(criu):
        yield f"CRIU is {quoted(theirs)} there and {criu} here: an older one does not read a newer one's images"
    if there.cgroup_driver != cgroup_driver:
        yield f"Docker's cgroup driver is {quoted(there.cgroup_driver)} there and {cgroup_driver} here"


def _version(text: str) -> tuple[int, ...]:
    """Major and minor number: images change with them."""
    return tuple(int(part) for part in _NUMBERS.findall(text)[:2])


def overlapping(wanted: Iterable[str], taken: Iterable[str]) -> bool:
    """Whether a subnet that is wanted overlaps one that is taken."""
    return any(
        one.overlaps(other)
        for one in _networks(wanted)
        for other in _networks(taken)
        if one.version == other.version
    )


def _networks(texts: Iterable[str]) -> Iterator[Any]:
    for text in texts:
        try:
            yield ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue


@dataclasses.dataclass(frozen=True)
class Port:
    """A port of the host that the container publishes. `address` is empty for all addresses."""

    protocol: str
    address: str
    number: int

    def __str__(self) -> str:
        """As `docker ps` shows it."""
        return (
            f"{self.address}:{self.number}/{self.protocol}"
            if self.address
            else f"{self.number}/{self.protocol}"
        )


def ports(inspection: Mapping[str, Any]) -> list[Port]:
    """The host's ports that a container has asked for by number; what does not parse is left to dockerd."""
    found = []
    bindings = inspection["HostConfig"].get("PortBindings")
    for inner, outer in (bindings if isinstance(bindings, dict) else {}).items():
        for binding in outer if isinstance(outer, list) else ():
            number = str(binding.get("HostPort") or "") if isinstance(binding, dict) else ""
            if number.isdecimal() and 0 < int(number) < 65536:
                protocol = str(inner).partition("/")[2] or "tcp"
                found.append(Port(protocol, str(binding.get("HostIp") or ""), int(number)))
    return found


def _key(data: Any, key: str) -> Any:
    if not isinstance(data, dict) or key not in data:
        raise BadInput("what the other host says does not parse", f"{key} is not there")
    return data[key]


def _table(data: Any, key: str) -> dict[str, Any]:
    found = _key(data, key)
    if not isinstance(found, dict):
        raise BadInput("what the other host says does not parse", f"{key} is {quoted(found)}")
    return found


def _text(data: Any, key: str, *, most: int = 255) -> str:
    found = _key(data, key)
    if not isinstance(found, str) or len(found) > most:
        raise BadInput("what the other host says does not parse", f"{key} is {quoted(found)}")
    return found


def _count(data: Any, key: str) -> int:
    found = _key(data, key)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 1 << 63:
        raise BadInput("what the other host says does not parse", f"{key} is {quoted(found)}")
    return found
