"""Adds one in memory, writes it to a volume unsynced, then synced; again and again. For power cuts.

Memory must never be newer or older than the volume by more than the one step that is under way: what it reads back
before each step says so, and what does not fit is written down. Usage: steps.py FOLDER SECONDS
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
import sys
import time
from pathlib import Path

MAGIC = b"guardian-steps:" + b"\x01"
LINE = 64


def read(descriptor: int) -> tuple[str, int]:
    """The process and the step that a file tells; ("", 0) for an empty one."""
    name, _, number = os.pread(descriptor, LINE, 0).decode().strip().partition(" ")
    return name, int(number or 0)


def main() -> None:
    """For ever."""
    folder, pause = Path(sys.argv[1]), float(sys.argv[2])
    files = [
        os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for name in ("unsynced", "synced")
    ]
    step = read(files[1])[1]
    # Where a reader of this process's memory finds both.
    memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[: len(MAGIC)] = MAGIC
    name = secrets.token_hex(8)
    memory[16:32] = name.encode()
    first = True
    while True:
        for file in files:
            there = read(file)
            if not first and (there[0] != name or not 0 <= step - there[1] <= 1):
                with (folder / "misfits").open("a") as misfits:
                    misfits.write(f"{name} {step} in memory, {there[0]} {there[1]} on the volume\n")
        step += 1
        memory[32:40] = struct.pack("<Q", step)
        for file in files:
            os.pwrite(file, f"{name} {step}".ljust(LINE).encode(), 0)
        os.fsync(files[1])
        first = False
        time.sleep(pause)


main()
