"""guardian.toml as it lies on this host."""

from __future__ import annotations

import tomllib
from pathlib import Path

from guardian.host import paths
from guardian.model.config import Config, from_mapping
from guardian.model.errors import BadInput


def load_config(path: Path = paths.CONFIGURATION) -> Config:
    """The configuration in force; raises BadInput. A file that is not there is the default."""
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        data = {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path} does not parse", str(error)) from error
    return from_mapping(data, source=str(path))
