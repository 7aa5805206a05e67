"""How a file of commands registers them with the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Command = Callable[[str, Any, str], argparse.ArgumentParser]
"""Registers a subcommand: its name, what runs it, and its meaning; its arguments are added to what it returns."""
