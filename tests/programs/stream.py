"""stream.py serve PORT | stream.py connect HOST PORT: both ends send without pause and check every byte they get.

A byte's value follows from its place, so nothing can be lost, doubled or reordered unseen. Writes a line of JSON every
0.2 s (serve: into /seen): `sent`, `received`, `wrong`, `ended`.
"""

import json
import socket
import sys
import threading
import time
from pathlib import Path

PATTERN = bytes((place * 31 + place // 251) % 256 for place in range(65521))
SEEN = {"sent": 0, "received": 0, "wrong": 0}
ENDED: list[str] = []


def expected(place: int, length: int) -> bytes:
    """The bytes from `place` on."""
    start = place % len(PATTERN)
    found = PATTERN[start : start + length]
    while len(found) < length:
        found += PATTERN[: length - len(found)]
    return found


def send(connection: socket.socket) -> None:
    """Send for ever, at some megabytes a second."""
    try:
        while True:
            SEEN["sent"] += connection.send(expected(SEEN["sent"], 16384))
            time.sleep(0.002)
    except OSError as error:
        ENDED.append(str(error))


def receive(connection: socket.socket) -> None:
    """Check for ever."""
    try:
        while data := connection.recv(16384):
            if data != expected(SEEN["received"], len(data)):
                SEEN["wrong"] += 1
            SEEN["received"] += len(data)
        ENDED.append("end of file")
    except OSError as error:
        ENDED.append(str(error))


def main() -> None:
    """Connect or wait for the one who does, and report."""
    serving = sys.argv[1] == "serve"
    if serving:
        connection, _ = socket.create_server(("", int(sys.argv[2]))).accept()
    else:
        connection = socket.create_connection((sys.argv[2], int(sys.argv[3])))
    threading.Thread(target=send, args=(connection,), daemon=True).start()
    threading.Thread(target=receive, args=(connection,), daemon=True).start()
    while True:
        time.sleep(0.2)
        if serving:
            Path("/new").write_text(json.dumps(SEEN | {"ended": "".join(ENDED)}))
            Path("/new").rename("/seen")
        else:
            print(json.dumps(SEEN | {"ended": "".join(ENDED)}), flush=True)


main()
