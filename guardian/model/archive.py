"""The archive that a checkpoint travels in: its names, and the manifest that is its last member.

podman's names, so that its tools read it, and ours below `guardian/`. docs/archive-format.md describes it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from guardian.model import steps
from guardian.model.container import Mount, is_container_id
from guardian.model.errors import BadInput
from guardian.model.wording import quoted

FORMAT = 1
"""Raised when an older guardian could misunderstand the archive."""

MANIFEST = "guardian/manifest.json"
RECORD = "guardian/record.json"
INSPECTION = "guardian/container.json"
NETWORKS = "guardian/networks.json"
VOLUME_FACTS = "guardian/volumes.json"
CONNECTIONS = "guardian/connections.json"
PROOF = "guardian/proof"
IMAGES = "checkpoint/"
VOLUMES = "guardian/volumes/"
IMAGE = "guardian/image.tar."
"""Followed by a number: docker's archive of the image in parts, since its length is known only at its end."""

FOLDERS = ("checkpoint", "guardian", "guardian/volumes")
"""The folders that members lie in."""

MOST_MEMBERS = 100_000
MOST_SMALL = 16 << 20
"""Bytes of a member that is read as a whole: JSON."""
MOST_SECONDS = 253402300800.0
"""When the year 10000 begins."""
MOST_NAME = 100
"""What the oldest tar header holds."""
_NAME = re.compile(
    rf"(?:checkpoint/(?:{steps.FOLDER}/)?|guardian/|guardian/volumes/)?[A-Za-z0-9_][A-Za-z0-9_.-]*"
)
_STEP = re.compile(rf"{IMAGES}pre-([1-{steps.MOST}])/")
_LINKS_OR_STEPS = frozenset(
    IMAGES + item
    for number in range(1, steps.MOST + 1)
    for item in (steps.name(number), *steps.links(number))
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHECKPOINT = re.compile(r"[0-9]{8}T[0-9]{6,9}-[0-9a-f]{6}")
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")


def is_name(name: str) -> bool:
    """Whether a member may be called so: no path that leads anywhere, whatever unpacks it."""
    short = len(name) <= MOST_NAME and ".." not in name
    return short and name not in FOLDERS and name not in _LINKS_OR_STEPS and _NAME.fullmatch(name) is not None


def is_image(name: str) -> bool:
    """Whether a member is an image of the last step: a move has no others."""
    return is_name(name) and name.startswith(IMAGES) and name.count("/") == 1


def links(names: Iterable[str]) -> Mapping[str, str]:
    """The links that belong to members of these names, and where each leads; raises BadInput for steps with a gap."""
    found = {int(step[1]) for name in names if (step := _STEP.match(name))}
    if found != set(range(1, len(found) + 1)):
        raise BadInput("the images of a step are missing")
    return {IMAGES + link: target for link, target in steps.links(len(found)).items()}


@dataclasses.dataclass(frozen=True)
class Part:
    """A member: its name, its length in bytes and its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume of the container: its name on the host it comes from, where it is mounted, and whether it is inside."""

    name: str
    destination: str
    included: bool

    @property
    def member(self) -> str:
        """The archive's member with its content."""
        return f"{VOLUMES}{self.name}.tar"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What the archive says of itself.

    `taken` is wall-clock seconds. `versions` are those of guardian, criu, runc and the engine, `cgroup_driver` is
    Docker's, `tags` and `digests` are names under which the image `image_id` is to be had.
    """

    checkpoint: str
    container_id: str
    name: str
    taken: float
    purpose: str
    architecture: str
    kernel: str
    versions: Mapping[str, str]
    cgroup_driver: str
    image_id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    image_included: bool
    volumes: tuple[Volume, ...]
    members: tuple[Part, ...]
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Manifest:
        """Raises BadInput for anything `to_json` would not have written, and for an unknown format."""
        if not isinstance(data, dict) or not isinstance(data.get("format"), int):
            raise BadInput("the manifest does not parse", "it says no format")
        if not 1 <= data["format"] <= FORMAT:
            raise BadInput(
                f"the archive has format {quoted(data['format'])}",
                f"this guardian knows {FORMAT}",
                hint="install the guardian that wrote it, or a newer one",
            )
        try:
            found = cls(
                **{
                    field.name: _FIELDS.get(field.name, _text)(data[field.name])
                    for field in dataclasses.fields(cls)
                }
            )
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            raise BadInput("the manifest does not parse", f"{error!r:.100}") from error
        for problem in found._problems():
            raise BadInput("the manifest does not parse", problem)
        return found

    def _problems(self) -> Iterator[str]:
        if not _CHECKPOINT.fullmatch(self.checkpoint):
            yield f"{quoted(self.checkpoint)} is no checkpoint id"
        if not is_container_id(self.container_id):
            yield f"{quoted(self.container_id)} is no container id"
        if len(self.members) > MOST_MEMBERS:
            yield "too many members"
        if len({part.name for part in self.members}) != len(self.members):
            yield "a member is named twice"
        for part in self.members:
            if not is_name(part.name) or part.size < 0 or not _SHA256.fullmatch(part.sha256):
                yield f"the member {quoted(part.name)}"
        for volume in self.volumes:
            if not _VOLUME.fullmatch(volume.name):
                yield f"{quoted(volume.name)} is no volume's name"


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 4096:
        raise ValueError(f"{quoted(value)} is no text")
    value.encode()  # a lone surrogate is no text: it could not be written anywhere
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > 1000:
        raise ValueError(f"{quoted(value)} is no list")
    return tuple(_text(item) for item in value)


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ValueError(f"{quoted(value)} is no number")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST_SECONDS:
        raise ValueError(f"{quoted(value)} is no time")
    return float(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{quoted(value)} is neither true nor false")  # noqa: TRY004
    return value


_FIELDS: Mapping[str, Any] = {
    "format": _number,
    "taken": _seconds,
    "versions": lambda value: {_text(key): _text(item) for key, item in value.items()},
    "tags": _texts,
    "digests": _texts,
    "image_included": _flag,
    "volumes": lambda value: tuple(
        Volume(_text(item["name"]), _text(item["destination"]), _flag(item["included"])) for item in value
    ),
    "members": lambda value: tuple(
        Part(_text(item["name"]), _number(item["size"]), _text(item["sha256"])) for item in value
    ),
}


def chosen(mounts: tuple[Mount, ...], wanted: str) -> tuple[Volume, ...]:
    """The volumes among the mounts, `wanted` (`none`, `all`, or names with commas) of them included.

    Raises BadInput for a name that is none of them, or is too long for a member.
    """
    names = {mount.volume for mount in mounts if mount.kind == "volume" and mount.volume}
    asked = names if wanted == "all" else {name for name in wanted.split(",") if name and wanted != "none"}
    if asked - names:
        raise BadInput(
            f"the container has no volume {quoted(min(asked - names))}",
            hint=f"it has {', '.join(sorted(names)) or 'none'}",
        )
    volumes = tuple(
        Volume(mount.volume, mount.destination, mount.volume in asked)
        for mount in mounts
        if mount.kind == "volume" and mount.volume
    )
    for volume in volumes:
        if volume.included and not is_name(volume.member):
            raise BadInput(f"the volume {quoted(volume.name)} cannot be kept", "its name is too long")
    return volumes
