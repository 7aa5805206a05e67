"""guardian.toml, validated. One table says all about each setting; the file shipped is made from it."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping
from typing import Any

from guardian.model.config_kinds import (
    CEILING,
    DAY,
    FAILURE,
    LEVEL,
    PATH,
    PATTERNS,
    SIZE,
    TRUTH,
    HookFailure,
    Kind,
    LogLevel,
    count,
    duration,
)
from guardian.model.errors import BadInput
from guardian.model.wording import quoted, suggestion

MOST_BUDGET = 1140.0
"""Seconds: reboot.target gives up after 30 minutes, and the whole may never take over 20."""


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
    encrypt: bool
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
    hook_timeout: float
    hook_failure: HookFailure
    retained_snapshots: int
    retained_age: float
    retained_size: int
    erase: bool
    log_level: LogLevel

    def guards(self, name: str) -> bool:
        """Whether the container of this name is guarded without a label."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.guarded_names)


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
    "hooks": "What labels have run: commands inside of containers, executables of the host's own.",
    "retention": "How long snapshots, and images that were not restored, are kept. What waits to be restored stays. "
    "Of images that were not restored at most the newest two of each container are kept.",
    "log": "What is said in the journal.",
}

SETTINGS: tuple[Setting, ...] = (
    Setting("store", "path", "store_path", PATH, "/var/lib/guardian/checkpoints", "The store's folder."),
    Setting("store", "max-size", "max_size", CEILING, "", "The most that all checkpoints together may take."),
    Setting(
        "store",
        "max-container-size",
        "max_container_size",
        CEILING,
        "",
        "The most that one container's checkpoint may take.",
    ),
    Setting("store", "reserve", "reserve", SIZE, "1G", "Space that is left free on the store's file system."),
    Setting(
        "store",
        "encrypt",
        "encrypt",
        TRUTH,
        False,
        "Whether images are encrypted by the store's file system, with the key that systemd-creds has "
        "(docs/encryption.md). What cannot be encrypted is then not saved.",
    ),
    Setting(
        "labels",
        "trust-image-labels",
        "trust_image_labels",
        TRUTH,
        False,
        "Whether a guardian.* label that equals the image's own counts. Then any image can enable guardian.",
    ),
    Setting(
        "labels",
        "guard",
        "guarded_names",
        PATTERNS,
        (),
        "Names of containers that are guarded without a label; guardian.enable=false is stronger.",
    ),
    Setting(
        "checkpoint",
        "parallel",
        "parallel",
        count(1024),
        0,
        "How many containers are dumped at once; 0 is one for each CPU.",
    ),
    Setting(
        "checkpoint",
        "budget",
        "checkpoint_budget",
        duration(1, MOST_BUDGET),
        600,
        "The time for all containers together. What is not saved by then is stopped as Docker would.",
    ),
    Setting(
        "checkpoint",
        "container-timeout",
        "container_timeout",
        duration(1, MOST_BUDGET),
        120,
        "The time for the dump of one container.",
    ),
    Setting(
        "checkpoint",
        "sync-timeout",
        "sync_timeout",
        duration(1, MOST_BUDGET),
        60,
        "The time for writing out what one file system still has in memory.",
    ),
    Setting(
        "restore",
        "budget",
        "restore_budget",
        duration(1, MOST_BUDGET),
        900,
        "The time for all containers together. What is not resumed by then is started cold.",
    ),
    Setting(
        "restore",
        "container-timeout",
        "restore_timeout",
        duration(1, MOST_BUDGET),
        120,
        "The time for the restore of one container.",
    ),
    Setting(
        "restore",
        "health-timeout",
        "health_timeout",
        duration(1, MOST_BUDGET),
        60,
        "How long a container waits for a dependency to become healthy.",
    ),
    Setting(
        "restore",
        "hold-expiry",
        "hold_expiry",
        duration(60, 7 * DAY),
        900,
        "How long a container is kept from starting while no restore is under way. Then it starts cold. "
        "A hold that a person asked for has no end.",
    ),
    Setting(
        "restore",
        "max-age",
        "max_age",
        duration(0),
        "0",
        "The age from which a checkpoint is not restored any more; 0 is none.",
    ),
    Setting(
        "restore",
        "verify",
        "verify",
        TRUTH,
        True,
        "Whether images are compared with their hashes before they are restored, beside dockerd's own start.",
    ),
    Setting(
        "restore",
        "recreate-networks",
        "recreate_networks",
        TRUTH,
        False,
        "Whether a network that was removed while its container was held is made anew as it was.",
    ),
    Setting(
        "restore",
        "canary",
        "canary",
        TRUTH,
        True,
        "Whether a small process is dumped and restored first. Where that fails all start cold, their images kept.",
    ),
    Setting(
        "connections",
        "fence-time",
        "fence_time",
        duration(1, DAY),
        "15m",
        "How long at most peers are kept from hearing that a container is away. Most give up after 15 minutes.",
    ),
    Setting(
        "hooks", "timeout", "hook_timeout", duration(0.1, 300), 10, "The time for each; then it is ended."
    ),
    Setting(
        "hooks",
        "on-failure",
        "hook_failure",
        FAILURE,
        HookFailure.VETO.value,
        "Whether one that fails before a checkpoint or a restore forbids it, or is only told of.",
    ),
    Setting(
        "retention",
        "snapshots",
        "retained_snapshots",
        count(100000),
        10,
        "How many snapshots of one container are kept; 0 is all.",
    ),
    Setting("retention", "max-age", "retained_age", duration(0), "0", "The age at which they go; 0 is none."),
    Setting("retention", "max-size", "retained_size", CEILING, "", "The most that they may take together."),
    Setting(
        "retention",
        "erase",
        "erase",
        TRUTH,
        True,
        "Whether images that are deleted are overwritten before, where the file system writes in place (ext4, XFS).",
    ),
    Setting("log", "level", "log_level", LEVEL, LogLevel.INFO.value, "The least that is said."),
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
