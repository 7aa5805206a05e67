r"""attach.py CONTAINER ROWS COLUMNS QUIET UNTIL TEXT...: types each TEXT at a terminal, prints what it shows.

What it shows is over when nothing has come for QUIET seconds, and, where UNTIL is not empty, that has come, which may
take a minute more.

\n and \x03 in a TEXT are what they are in Python.
"""

import fcntl
import os
import select
import struct
import sys
import termios
import time
from pty import fork


def shown(terminal: int, quiet: float) -> bytes:
    """What comes until nothing has come for a while."""
    found = b""
    while select.select([terminal], [], [], quiet)[0]:
        try:
            found += os.read(terminal, 4096)
        except OSError:
            break
    return found


def main() -> None:
    """Attach, type, detach."""
    container, rows, columns, seconds, until, *texts = sys.argv[1:]
    quiet = float(seconds)
    pid, terminal = fork()
    if pid == 0:
        os.execvp("docker", ["docker", "attach", "--detach-keys=ctrl-x", container])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))
    found = shown(terminal, quiet)
    for text in texts:
        os.write(terminal, text.encode().decode("unicode_escape").encode())
        found += shown(terminal, quiet)
    end = time.monotonic() + 60
    while until.encode() not in found and time.monotonic() < end:
        found += shown(terminal, quiet)
    os.write(terminal, b"\x18")
    found += shown(terminal, quiet)
    os.close(terminal)
    os.waitpid(pid, 0)
    sys.stdout.buffer.write(found)


main()
