"""How a file of commands registers them with the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from guardian.model.errors import GuardianError

Command = Callable[[str, Any, str], argparse.ArgumentParser]
"""Registers a subcommand: its name, what runs it, and its meaning; its arguments are added to what it returns."""


def need_root(command: str) -> None:
    """Raise GuardianError for anybody else, before a command reads, asks or connects to anything."""
    if os.geteuid() != 0:
        raise GuardianError(f"{command} was not begun", "only root may")
