r"""attach.py CONTAINER ROWS COLUMNS QUIET TEXT...: types each TEXT at the container's terminal, prints what it shows.

What it shows is over when nothing has come for QUIET seconds.

\n and \x03 in a TEXT are what they are in Python.
"""

import fcntl
import os
import select
import struct
import sys
import termios
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
    container, rows, columns, seconds, *texts = sys.argv[1:]
    quiet = float(seconds)
    pid, terminal = fork()
    if pid == 0:
        os.execvp("docker", ["docker", "attach", "--detach-keys=ctrl-x", container])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))
    found = shown(terminal, quiet)
    for text in texts:
        os.write(terminal, text.encode().decode("unicode_escape").encode())
        found += shown(terminal, quiet)
    os.write(terminal, b"\x18")
    found += shown(terminal, quiet)
    os.close(terminal)
    os.waitpid(pid, 0)
    sys.stdout.buffer.write(found)


main()
