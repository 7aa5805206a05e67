"""guardianctl migrate and its other end: their arguments; what they do is in `migrate_commands`."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

from guardian.faces.command import Command, need_root
from guardian.host.frames import give_way
from guardian.host.ssh import Remote
from guardian.model.move import PROTOCOL


def add(command: Command) -> None:
    """Add the commands."""
    made = command("migrate", _migrate, "move running containers to another host, over ssh")
    made.add_argument("names", nargs="+", metavar="CONTAINER... HOST", help="HOST as ssh knows it")
    made.add_argument(
        "--compose",
        action="append",
        default=[],
        metavar="PROJECT",
        help="all containers of a Compose project",
    )
    made.add_argument("--check", action="store_true", help="only look whether HOST could take them")
    made.add_argument("--resolve", action="store_true", help="finish moves to HOST that were left undecided")
    made.add_argument("--name", default="", metavar="NAME", help="another name there (of one container)")
    made.add_argument(
        "--overwrite-volumes", action="store_true", help="volumes of the same name there lose their content"
    )
    made.add_argument(
        "--limit", type=float, default=600.0, metavar="SECONDS", help="longest standstill (default: 600)"
    )
    made.add_argument("--batch", action="store_true", help="ssh asks nothing: no password, no unknown host")
    made.add_argument("--sudo", action="store_true", help="run guardianctl there by sudo")
    made = command("receive", _receive, "what migrate starts on the other host")
    made.add_argument("protocol", type=int, metavar="PROTOCOL")


def remote_command(options: argparse.Namespace) -> list[str]:
    """What is run on the other host."""
    return [*(["sudo", "-n"] if options.sudo else []), "guardianctl", "receive", str(PROTOCOL)]


def _migrate(options: argparse.Namespace) -> int:
    need_root("migrate")
    if options.resolve:
        return int(_commands().resolve(options))
    # ssh first: the other host's Python needs the 0.3 s that what does the work takes to import here as well.
    give_way()
    with Remote(options.names[-1], remote_command(options), batch=options.batch) as remote:
        return int(_commands().migrate(remote, options))


def _receive(options: argparse.Namespace) -> int:
    need_root("receive")
    give_way()
    return int(_commands().receive(options))


def _commands() -> ModuleType:
    return importlib.import_module("guardian.faces.migrate_commands")
