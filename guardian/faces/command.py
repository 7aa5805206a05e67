"""How a file of commands registers them with the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from guardian.model import steps
from guardian.model.errors import GuardianError

Command = Callable[[str, Any, str], argparse.ArgumentParser]
"""Registers a subcommand: its name, what runs it, and its meaning; its arguments are added to what it returns."""


def need_root(command: str) -> None:
    """Raise GuardianError for anybody else, before a command reads, asks or connects to anything."""
    if os.geteuid() != 0:
        raise GuardianError(f"{command} was not begun", "only root may")


def pre_dump(made: argparse.ArgumentParser) -> None:
    """Add the option that says how often memory is written ahead; nothing where it is not given."""
    made.add_argument(
        "--pre-dump",
        type=int,
        choices=range(steps.MOST + 1),
        metavar="N",
        help=f"write memory N times (0 to {steps.MOST}) before it stands still, else as often as its label says",
    )
