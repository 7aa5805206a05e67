"""guardian.toml, validated. One table says all about each setting; the file shipped is made from it."""

from __future__ import annotations

import dataclasses
import enum
import fnmatch
import math
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

from guardian.model.errors import BadInput
from guardian.model.wording import listed, quoted, suggestion

MOST_BUDGET = 1140.0
"""Seconds: reboot.target gives up after 30 minutes, and the whole may never take over 20."""

_DAY = 86400.0
_SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)", re.IGNORECASE)
_PATTERN = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,255}")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d|w)?")
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": _DAY, "w": 7 * _DAY}
_LARGEST = (1 << 63) - 1


class LogLevel(enum.Enum):
    """How much is said in the journal."""

    DEBUG = "debug"
    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings. Sizes are in bytes, durations in seconds.

    0 in `max_size`, `max_container_size`, `max_age` and what is `retained` is none, in `parallel` one for each CPU.
    `container_timeout` is the limit for one container's checkpoint, `restore_timeout` for its restore.
    """

    store_path: str
    max_size: int
    max_container_size: int
    reserve: int
    trust_image_labels: bool
    guarded_names: tuple[str, ...]
    parallel: int
    checkpoint_budget: float
    container_timeout: float
    sync_timeout: float
    restore_budget: float
    restore_timeout: float
    health_timeout: float
    hold_expiry: float
    max_age: float
    verify: bool
    recreate_networks: bool
    canary: bool
    fence_time: float
    retained_snapshots: int
    retained_age: float
    retained_size: int
    log_level: LogLevel

    def guards(self, name: str) -> bool:
        """Whether the container of this name is guarded without a label."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.guarded_names)


def parse_size(value: object) -> int:
    """Bytes in a text like "50G" (K, M, G, T: powers of 1024) or a number; raises BadInput."""
    if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
        value = int(found[1]) * _BYTES[found[2].upper()]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise BadInput(f"{quoted(value)} is no size", hint='allowed are bytes or a text like "512M" or "50G"')
    return value


def parse_duration(value: object) -> float:
    """Seconds in a text like "90", "15m" or "7d" (ms, s, m, h, d, w) or a number; raises BadInput."""
    if isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
        value = float(found[1]) * _SECONDS[found[2] or ""]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise BadInput(
            f"{quoted(value)} is no duration", hint='allowed are seconds or a text like "15m" or "7d"'
        )
    return float(value)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What may stand in a setting: in words, and as a function that raises BadInput for anything else."""

    allowed: str
    parse: Callable[[object], Any]


def _duration(least: float, most: float = math.inf) -> Kind:
    """A duration within bounds."""

    def parse(value: object) -> float:
        seconds = parse_duration(value)
        if not least <= seconds <= most:
            raise BadInput(f"{seconds:g} seconds are out of range")
        return seconds

    bounds = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
    return Kind(f'seconds, {bounds}, or a text like "90s", "15m", "2h" or "7d"', parse)


def _count(most: int) -> Kind:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise BadInput(f"{quoted(value)} is no whole number from 0 to {most}")
        return value

    return Kind(f"a whole number from 0 to {most}", parse)


def _ceiling(value: object) -> int:
    return 0 if value == "" else parse_size(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"{quoted(value)} is neither true nor false")
    return value


def _folder(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise BadInput(f"{quoted(value)} is no absolute path")
    path = posixpath.normpath(f"/{value.strip('/')}")
    if path == "/" or ".." in value.split("/"):
        raise BadInput(f"{quoted(value)} is no folder of its own")
    return path


def _patterns(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise BadInput(f"{quoted(value)} is no array of texts")
    wrong = [item for item in value if not _PATTERN.fullmatch(item)]
    if wrong:
        raise BadInput(f"{quoted(wrong[0])} is no pattern of names")
    return tuple(value)


def _level(value: object) -> LogLevel:
    found = next((level for level in LogLevel if level.value == value), None)
    if found is None:
        raise BadInput(f"{quoted(value)} is no level")
    return found


_SIZE_KIND = Kind('bytes or a text like "512M" or "50G"', parse_size)
_CEILING_KIND = Kind('bytes or a text like "512M" or "50G", or "" for none', _ceiling)
_PATH_KIND = Kind("an absolute path other than /", _folder)
_TRUTH_KIND = Kind("true or false", _truth)
_PATTERNS_KIND = Kind("an array of container names, with *, ? and [...]", _patterns)
_LEVEL_KIND = Kind(listed(f'"{level.value}"' for level in LogLevel), _level)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting: `field` is its name in Config, `default` stands in the file, `meaning` is a sentence."""

    section: str
    key: str
    field: str
    kind: Kind
    default: str | int | bool | tuple[str, ...]
    meaning: str


SECTIONS: Mapping[str, str] = {
    "store": "Where checkpoints lie. They hold the memory of every process: the folder is root's alone.",
    "labels": "What containers may ask for.",
    "checkpoint": "Saving containers before Docker stops.",
    "restore": "Resuming containers after Docker has started.",
    "connections": "TCP connections of containers.",
    "retention": "How long snapshots, and images that were not restored, are kept. What waits to be restored stays.",
    "log": "What is said in the journal.",
}

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "store", "path", "store_path", _PATH_KIND, "/var/lib/guardian/checkpoints", "The store's folder."
    ),
    Setting(
        "store", "max-size", "max_size", _CEILING_KIND, "", "The most that all checkpoints together may take."
    ),
    Setting(
        "store",
        "max-container-size",
        "max_container_size",
        _CEILING_KIND,
        "",
        "The most that one container's checkpoint may take.",
    ),
    Setting(
        "store", "reserve", "reserve", _SIZE_KIND, "1G", "Space that is left free on the store's file system."
    ),
    Setting(
        "labels",
        "trust-image-labels",
        "trust_image_labels",
        _TRUTH_KIND,
        False,
        "Whether a guardian.* label that equals the image's own counts. Then any image can enable guardian.",
    ),
    Setting(
        "labels",
        "guard",
        "guarded_names",
        _PATTERNS_KIND,
        (),
        "Names of containers that are guarded without a label; guardian.enable=false is stronger.",
    ),
    Setting(
        "checkpoint",
        "parallel",
        "parallel",
        _count(1024),
        0,
        "How many containers are dumped at once; 0 is one for each CPU.",
    ),
    Setting(
        "checkpoint",
        "budget",
        "checkpoint_budget",
        _duration(1, MOST_BUDGET),
        600,
        "The time for all containers together. What is not saved by then is stopped as Docker would.",
    ),
    Setting(
        "checkpoint",
        "container-timeout",
        "container_timeout",
        _duration(1, MOST_BUDGET),
        120,
        "The time for the dump of one container.",
    ),
    Setting(
        "checkpoint",
        "sync-timeout",
        "sync_timeout",
        _duration(1, MOST_BUDGET),
        60,
        "The time for writing out what one file system still has in memory.",
    ),
    Setting(
        "restore",
        "budget",
        "restore_budget",
        _duration(1, MOST_BUDGET),
        900,
        "The time for all containers together. What is not resumed by then is started cold.",
    ),
    Setting(
        "restore",
        "container-timeout",
        "restore_timeout",
        _duration(1, MOST_BUDGET),
        120,
        "The time for the restore of one container.",
    ),
    Setting(
        "restore",
        "health-timeout",
        "health_timeout",
        _duration(1, MOST_BUDGET),
        60,
        "How long a container waits for a dependency to become healthy.",
    ),
    Setting(
        "restore",
        "hold-expiry",
        "hold_expiry",
        _duration(60, 7 * _DAY),
        900,
        "How long a container is kept from starting while no restore is under way. Then it starts cold.",
    ),
    Setting(
        "restore",
        "max-age",
        "max_age",
        _duration(0),
        "0",
        "The age from which a checkpoint is not restored any more; 0 is none.",
    ),
    Setting(
        "restore",
        "verify",
        "verify",
        _TRUTH_KIND,
        True,
        "Whether images are compared with their hashes before they are restored, beside dockerd's own start.",
    ),
    Setting(
        "restore",
        "recreate-networks",
        "recreate_networks",
        _TRUTH_KIND,
        False,
        "Whether a network that was removed while its container was held is made anew as it was.",
    ),
    Setting(
        "restore",
        "canary",
        "canary",
        _TRUTH_KIND,
        True,
        "Whether a small process is dumped and restored first. Where that fails all start cold, their images kept.",
    ),
    Setting(
        "connections",
        "fence-time",
        "fence_time",
        _duration(1, _DAY),
        "15m",
        "How long at most peers are kept from hearing that a container is away. Most give up after 15 minutes.",
    ),
    Setting(
        "retention",
        "snapshots",
        "retained_snapshots",
        _count(100000),
        10,
        "How many snapshots of one container are kept; 0 is all.",
    ),
    Setting(
        "retention", "max-age", "retained_age", _duration(0), "0", "The age at which they go; 0 is none."
    ),
    Setting(
        "retention", "max-size", "retained_size", _CEILING_KIND, "", "The most that they may take together."
    ),
    Setting("log", "level", "log_level", _LEVEL_KIND, LogLevel.INFO.value, "The least that is said."),
)


def from_mapping(data: Mapping[str, object], *, source: str) -> Config:
    """The settings in `data`, as tomllib gives it; what is not there has its default.

    Raises BadInput that names `source`, the key, and what is allowed there.
    """
    for section, keys in data.items():
        if section not in SECTIONS:
            raise _unknown(source, f"[{section}]", section, list(SECTIONS))
        if not isinstance(keys, Mapping):
            raise BadInput(
                f"{source}: {section} is {quoted(keys)}, not a table",
                hint=f"allowed is a section [{section}]",
            )
        known = [setting.key for setting in SETTINGS if setting.section == section]
        for key in keys:
            if key not in known:
                raise _unknown(source, f"[{section}] {key}", key, known)
    fields = {setting.field: _value(setting, data.get(setting.section), source) for setting in SETTINGS}
    return Config(**fields)


def defaults() -> Config:
    """The settings where there is no file."""
    return from_mapping({}, source="defaults")


def _value(setting: Setting, section: object, source: str) -> Any:
    """The value of one setting."""
    given = section.get(setting.key, setting.default) if isinstance(section, Mapping) else setting.default
    try:
        return setting.kind.parse(given)
    except BadInput as error:
        where = f"{source}: [{setting.section}] {setting.key}"
        raise BadInput(where, error.what, hint=f"allowed: {setting.kind.allowed}") from error


def _unknown(source: str, where: str, word: str, known: list[str]) -> BadInput:
    near = suggestion(word, known)
    allowed = f"allowed: {', '.join(known)}"
    shown = where if where.isprintable() and len(where) < 100 else quoted(where)
    return BadInput(f"{source}: {shown} is unknown", hint=f"{near}? {allowed}" if near else allowed)
