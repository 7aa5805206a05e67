"""guardianctl files, export and import: their arguments.

What they do is in `archive_commands`, loaded only when one of them is asked for: it needs CRIU's Python library.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

_Command = Callable[[str, Any, str], argparse.ArgumentParser]


def add(command: _Command) -> None:
    """Add the commands."""
    made = command("files", _run("files"), "the files that a checkpoint keeps: list them, or take them out")
    made.add_argument("subject", metavar="CONTAINER|CHECKPOINT", help="web (as it is now), web@2, an id")
    made.add_argument("path", nargs="?", default="/", metavar="PATH", help="only this file or folder")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--take", metavar="PATH", help="write the content of one file to --output")
    how.add_argument("--tar", metavar="FILE", help="write them as a tar archive; - is standard output")
    made.add_argument("--output", "-o", default="-", metavar="FILE", help="for --take; - is standard output")
    made = command("export", _run("export"), "one file with all that is needed to resume it elsewhere")
    made.add_argument("subject", metavar="CONTAINER|CHECKPOINT", help="web (as it is now), web@2, an id")
    made.add_argument(
        "--output", "-o", metavar="FILE", help="default: NAME-CHECKPOINT.tar.zst; - is standard output"
    )
    made.add_argument("--with-image", action="store_true", help="the container's image too (docker save)")
    made.add_argument("--volumes", default="none", metavar="none|all|NAME,...", help="default: none")
    made.add_argument("--compress", choices=("zstd", "none"), default="zstd", help="default: zstd")
    made.add_argument(
        "--encrypt-to", default="", metavar="KEY", help="a public key of age's or ssh's, or a file with some"
    )


def _run(name: str) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        from guardian.faces import archive_commands  # noqa: PLC0415

        return archive_commands.run(name, options)

    return run
