"""client.py HOST PORT [COUNT [INTERVAL]]: opens COUNT connections once and talks on each, every INTERVAL seconds.
Keepalives go out every 5 s while nothing else does, for ten minutes: a virtual machine takes minutes to reboot.

Writes a line of JSON to stdout every 0.2 s: `connects`, `resets`, `ends` (end of file), `wrong` (answers that are not
the next ones), `requests`, `longest_pause` (seconds from a request to its answer). It ends with its stdin, or its
service unit.
"""

import json
import select
import socket
import sys
import threading
import time

LOCK = threading.Lock()
SEEN = {"connects": 0, "resets": 0, "ends": 0, "wrong": 0, "requests": 0, "longest_pause": 0.0}


def count(name: str) -> None:
    """One more of something."""
    with LOCK:
        SEEN[name] += 1


def talk(connection: socket.socket, interval: float) -> None:
    """Ask again and again, and check that every answer is the next one."""
    number = 0
    lines = connection.makefile("rb")
    while True:
        number += 1
        asked = time.monotonic()
        try:
            connection.sendall(b"%d\n" % number)
            answer = lines.readline()
        except OSError as error:
            count("resets")
            print(error, file=sys.stderr, flush=True)
            return
        if not answer:
            count("ends")
            return
        if answer != b"%d %d\n" % (number, number):
            count("wrong")
        count("requests")
        with LOCK:
            SEEN["longest_pause"] = max(SEEN["longest_pause"], time.monotonic() - asked)
        time.sleep(interval)


def main() -> None:
    """Connect, talk, report."""
    host, port = sys.argv[1], int(sys.argv[2])
    wanted = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    interval = float(sys.argv[4]) if len(sys.argv) > 4 else 0.05
    for _ in range(wanted):
        connection = socket.create_connection((host, port), timeout=30)
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 120)):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        count("connects")
        threading.Thread(target=talk, args=(connection, interval), daemon=True).start()
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        with LOCK:
            print(json.dumps(SEEN), flush=True)


main()
