"""What may stand in a setting: sizes, durations, counts, words; each kind says what is allowed and raises BadInput."""

from __future__ import annotations

import dataclasses
import enum
import math
import posixpath
import re
from collections.abc import Callable
from typing import Any

from guardian.model.errors import BadInput
from guardian.model.wording import listed, quoted

DAY = 86400.0
_SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)", re.IGNORECASE)
_PATTERN = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,255}")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d|w)?")
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
_LARGEST = (1 << 63) - 1


class LogLevel(enum.Enum):
    """How much is said in the journal."""

    DEBUG = "debug"
    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"


class HookFailure(enum.Enum):
    """What a hook that fails before a checkpoint or a restore means."""

    VETO = "veto"
    CONTINUE = "continue"


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


def duration(least: float, most: float = math.inf) -> Kind:
    """A duration within bounds."""

    def parse(value: object) -> float:
        seconds = parse_duration(value)
        if not least <= seconds <= most:
            raise BadInput(f"{seconds:g} seconds are out of range")
        return seconds

    bounds = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
    return Kind(f'seconds, {bounds}, or a text like "90s", "15m", "2h" or "7d"', parse)


def count(most: int) -> Kind:
    """A whole number within bounds."""

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


def _failure(value: object) -> HookFailure:
    found = next((each for each in HookFailure if each.value == value), None)
    if found is None:
        raise BadInput(f"{quoted(value)} is nothing to do about a failure")
    return found


SIZE = Kind('bytes or a text like "512M" or "50G"', parse_size)
CEILING = Kind('bytes or a text like "512M" or "50G", or "" for none', _ceiling)
PATH = Kind("an absolute path other than /", _folder)
TRUTH = Kind("true or false", _truth)
PATTERNS = Kind("an array of container names, with *, ? and [...]", _patterns)
FAILURE = Kind(listed(f'"{each.value}"' for each in HookFailure), _failure)
LEVEL = Kind(listed(f'"{level.value}"' for level in LogLevel), _level)
