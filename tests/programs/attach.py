r"""attach.py CONTAINER ROWS COLUMNS TEXT...: types each TEXT at the container's terminal, prints what it shows.

\n and \x03 in a TEXT are what they are in Python.
"""

import fcntl
import os
import select
import struct
import sys
import termios
from pty import fork

QUIET = 1.0


def shown(terminal: int) -> bytes:
    """What comes until nothing has come for a while."""
    found = b""
    while select.select([terminal], [], [], QUIET)[0]:
        try:
            found += os.read(terminal, 4096)
        except OSError:
            break
    return found


def main() -> None:
    """Attach, type, detach."""
    container, rows, columns, *texts = sys.argv[1:]
    pid, terminal = fork()
    if pid == 0:
        os.execvp("docker", ["docker", "attach", "--detach-keys=ctrl-x", container])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))
    found = shown(terminal)
    for text in texts:
        os.write(terminal, text.encode().decode("unicode_escape").encode())
        found += shown(terminal)
    os.write(terminal, b"\x18")
    found += shown(terminal)
    os.close(terminal)
    os.waitpid(pid, 0)
    sys.stdout.buffer.write(found)


main()
