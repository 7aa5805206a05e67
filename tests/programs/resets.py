"""resets.py INTERFACE: counts the TCP resets that arrive there or leave, until its stdin ends. A line for each."""

import select
import socket
import struct
import sys

ETHERNET, TCP, RST = 14, 6, 4
IPV4, IPV6 = 0x0800, 0x86DD


def main() -> None:
    """Look at every packet."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as capture:
        capture.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        capture.bind((sys.argv[1], 0))
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([capture, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            packet = capture.recv(65536)
            kind = struct.unpack("!H", packet[12:14])[0]
            if kind == IPV4 and packet[ETHERNET + 9] == TCP:
                start = ETHERNET + (packet[ETHERNET] & 15) * 4
            elif kind == IPV6 and packet[ETHERNET + 6] == TCP:
                start = ETHERNET + 40
            else:
                continue
            if packet[start + 13] & RST:
                ports = struct.unpack("!HH", packet[start : start + 4])
                print(f"reset from port {ports[0]} to port {ports[1]}", flush=True)


main()
