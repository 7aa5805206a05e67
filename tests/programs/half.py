"""half.py HOST PORT: asks, closes its half of the connection, and says what comes back until the end."""

import socket
import sys


def main() -> None:
    """Ask once."""
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
        connection.sendall(b"question\n")
        connection.shutdown(socket.SHUT_WR)
        print("closed my half", flush=True)
        try:
            for line in connection.makefile("r"):
                print(line, end="", flush=True)
            print("end of file", flush=True)
        except OSError as error:
            print(error, flush=True)


main()
