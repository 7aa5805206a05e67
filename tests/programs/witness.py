"""witness.py PORT [HOST PORT]: what a fault would make a process lose, all in one.

It has a random token and a count that exist only in memory, answers each line of a connection with its number in that
connection, and talks to a peer over one connection that it opens once. What it knows is in /data/seen, every 20 ms:
`token`, `count`, and of its peer `answers`, `resets`, `wrong`. Told to stop (SIGTERM) it adds its token to /data/bye.
"""

import json
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path

TOKEN = secrets.token_hex(4)
SEEN = {"count": 0, "answers": 0, "resets": 0, "wrong": 0}


def serve(connection: socket.socket) -> None:
    """Answer one client as long as it asks."""
    with connection, connection.makefile("rb") as lines:
        for number, line in enumerate(lines, 1):
            connection.sendall(b"%d %s" % (number, line))


def accept(listening: socket.socket) -> None:
    """Accept for ever."""
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def connected(host: str, port: int) -> socket.socket:
    """A connection to the peer, which may not be there yet."""
    while True:
        try:
            return socket.create_connection((host, port))
        except OSError:
            time.sleep(0.1)


def talk(host: str, port: int) -> None:
    """Ask the peer again and again, and check that every answer is the next one."""
    while True:
        connection, number = connected(host, port), 0
        lines = connection.makefile("rb")
        while True:
            number += 1
            try:
                connection.sendall(b"%d\n" % number)
                answer = lines.readline()
            except OSError:
                answer = b""
            if not answer:
                SEEN["resets"] += 1
                connection.close()
                break
            SEEN["wrong"] += answer != b"%d %d\n" % (number, number)
            SEEN["answers"] += 1
            time.sleep(0.02)


def stop(_number: int, _frame: object) -> None:
    """A graceful end."""
    with Path("/data/bye").open("a") as file:
        file.write(f"{TOKEN}\n")
    sys.exit(0)


def main() -> None:
    """Serve, talk, count, write it down."""
    signal.signal(signal.SIGTERM, stop)
    listening = socket.create_server(("", int(sys.argv[1])))
    threading.Thread(target=accept, args=(listening,), daemon=True).start()
    if len(sys.argv) > 2:
        threading.Thread(target=talk, args=(sys.argv[2], int(sys.argv[3])), daemon=True).start()
    while True:
        SEEN["count"] += 1
        Path("/data/new").write_text(json.dumps(SEEN | {"token": TOKEN}))
        Path("/data/new").rename("/data/seen")
        time.sleep(0.02)


main()
