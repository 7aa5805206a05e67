"""guardian.toml as it lies on this host."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path

from guardian.host import paths
from guardian.model.config import Config, from_mapping
from guardian.model.config_kinds import LogLevel
from guardian.model.errors import BadInput

LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.NOTICE: logging.INFO + 5,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}
"""What the words of `[log] level` are to Python's logging."""


def load_config(path: Path = paths.CONFIGURATION) -> Config:
    """The configuration in force; raises BadInput. A file that is not there is the default."""
    try:
        return parsed(path.read_bytes(), source=str(path))
    except FileNotFoundError:
        return from_mapping({}, source=str(path))
    except OSError as error:
        raise BadInput(f"{path} does not parse", str(error)) from error


def parsed(text: bytes, *, source: str) -> Config:
    """The configuration in a file's content; raises BadInput that names `source`."""
    try:
        # tomllib goes one deeper for each bracket.
        data = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{source} does not parse", str(error)) from error
    return from_mapping(data, source=source)
