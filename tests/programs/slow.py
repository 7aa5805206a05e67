"""slow.py PORT [BACKLOG]: waits until a client has closed its half, then for the file /go, and answers only then.

With BACKLOG it never accepts anybody.
"""

import socket
import sys
import time
from pathlib import Path


def main() -> None:
    """One client after the other."""
    backlog = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    listening = socket.create_server(("", int(sys.argv[1])), backlog=backlog or 16)
    while backlog:
        time.sleep(1)
    while True:
        connection, _ = listening.accept()
        while connection.recv(4096):
            pass
        while not Path("/go").exists():
            time.sleep(0.02)
        connection.sendall(b"answer to the question\n")
        connection.close()


main()
