"""guardianctl coredump: a process of a checkpoint as a core file for gdb.

Exit status: 0 done, 1 failed, 2 usage, 4 refused (an image that cannot be understood, another architecture).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from guardian.faces.command import Command
from guardian.faces.jobs import Status
from guardian.faces.subject import guarded
from guardian.host.images import coredump
from guardian.host.images.folder import Folder


def add(command: Command) -> None:
    """Register the subcommand."""
    made = command("coredump", _coredump, "write a process of a checkpoint as a core file for gdb")
    made.add_argument(
        "subject", metavar="CONTAINER|CHECKPOINT", help="web (as it is now), web@2, an id, a folder"
    )
    made.add_argument("pid", type=int, metavar="PID", help="its id inside the container")
    made.add_argument("-o", "--output", type=Path, metavar="FILE", help="core.PID where it is not given")
    made.add_argument(
        "--sysroot",
        type=Path,
        metavar="DIR",
        help="the container's files: pages of mapped ones are taken from there",
    )


def _coredump(options: argparse.Namespace) -> int:
    return guarded(options, _run)


def _run(options: argparse.Namespace, folder: Folder) -> int:
    target = options.output or Path(f"core.{options.pid}")
    written = coredump.write(folder, options.pid, target, sysroot=options.sysroot)
    if options.json:
        print(json.dumps({**dataclasses.asdict(written), "file": str(written.file)}))
        return Status.DONE
    lazy = f"; {written.lazy} bytes were left on the host of the dump" if written.lazy else ""
    print(f"{written.file}: {written.threads} threads, {written.size >> 10} KiB of memory{lazy}")
    return Status.DONE
