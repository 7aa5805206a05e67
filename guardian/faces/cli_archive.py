"""guardianctl files, export and import: their arguments; what they do is in `archive_commands`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from guardian.faces import archive_commands
from guardian.faces.command import Command, need_root


def add(command: Command) -> None:
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
    # The worker's, for the bus: into what is open already.
    made.add_argument("--descriptor", type=int, help=argparse.SUPPRESS)
    made.add_argument("--with-image", action="store_true", help="the container's image too (docker save)")
    made.add_argument("--volumes", default="none", metavar="none|all|NAME,...", help="default: none")
    made.add_argument("--compress", choices=("zstd", "none"), default="zstd", help="default: zstd")
    made.add_argument(
        "--encrypt-to", default="", metavar="KEY", help="a public key of age's or ssh's, or a file with some"
    )
    made = command("import", _run("import"), "make the container of an archive, waiting to be resumed")
    made.add_argument("file", metavar="FILE", help="an archive of guardianctl export; - is standard input")
    made.add_argument("--name", default="", help="another name for the container")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--hold", action="store_true", help="let it wait for guardianctl restore (the default)")
    how.add_argument("--resume", action="store_true", help="resume it at once")
    made.add_argument(
        "--volumes", choices=("new", "use"), default="new", help="use: those of the same name, as they are"
    )
    made.add_argument(
        "--identity", default="", metavar="FILE", help="the key that an encrypted archive is for"
    )
    made.add_argument("--force", action="store_true", help="even where the same checkpoint runs or ran here")


def _run(name: str) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        need_root(name)
        return archive_commands.run(name, options)

    return run
