"""ballast.py MIB FILE [PROGRAM ARGUMENTS]: much memory that stays as it is, a little that changes, a program beside.

Every page of the first is checked again and again, and every page of the second against what was last written into
it; FILE has `TOKEN ROUND good|WHAT`, TOKEN being known to this process alone. The memory that stays has the token
backwards in every 256th page, and nothing else has it.
"""

import os
import pathlib
import runpy
import sys
import threading
import time
import zlib

PAGE = 4096
CHANGING = 256


def told(file: str, text: str) -> None:
    """Replace the file as a whole."""
    new = pathlib.Path(f"{file}.new")
    new.write_text(text)
    new.rename(file)


def check(kept: bytearray, changing: bytearray, token: str, file: str) -> None:
    """Look at all of it for ever."""
    whole, number, what = zlib.crc32(kept), 0, "good"
    while True:
        expected = number.to_bytes(8, "little") * (PAGE // 8) * CHANGING
        if zlib.crc32(kept) != whole:
            what = "what stays has changed"
        if number and changing != expected:
            what = "what changes is another round's"
        number += 1
        changing[:] = number.to_bytes(8, "little") * (PAGE // 8) * CHANGING
        told(file, f"{token} {number} {what}")
        time.sleep(0.2)


def main() -> None:
    """Fill, begin to check, and become the program."""
    token = os.urandom(16).hex()
    kept, changing = bytearray(), bytearray(PAGE * CHANGING)
    for number in range(int(sys.argv[1]) << 8):
        kept += os.urandom(PAGE)
        if number % 256 == 0:
            for place, letter in enumerate(reversed(token.encode())):
                kept[number * PAGE + 100 + place] = letter
    threading.Thread(target=check, args=(kept, changing, token, sys.argv[2])).start()
    if sys.argv[3:]:
        sys.argv = sys.argv[3:]
        runpy.run_path(sys.argv[0], run_name="__main__")


main()
