"""server.py PORT [FAMILY]: answers each line of a connection with its number in that connection and the line.

The number is only in memory, and so proves that process and connection are the ones of before.
"""

import socket
import sys
import threading


def serve(connection: socket.socket) -> None:
    """Answer one client until it has said all it wants to; then say how much that was, and end."""
    number = 0
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            number += 1
            connection.sendall(b"%d %s" % (number, line))
        connection.sendall(b"end %d\n" % number)


def main() -> None:
    """Accept for ever."""
    family = socket.AF_INET6 if sys.argv[2:] == ["6"] else socket.AF_INET
    listening = socket.create_server(("", int(sys.argv[1])), family=family, backlog=512)
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
