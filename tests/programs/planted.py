"""planted.py FOLDER: several processes that hold known facts, for `guardianctl inspect`, `memory` and `files` to find.

Two processes and three threads; TCP both ends, one with unread bytes; unix sockets, named and paired; a pipe with
content; a deleted file; files at a position; shared memory; a mapped file; a timer; a lock; a blocked signal; a secret
in memory and in the environment. Writes FOLDER/ready, as JSON, once all of it is there.
"""

import ctypes
import fcntl
import json
import mmap
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

NEEDLE = b"needle-" + b"in-the-" + b"haystack"
UNREAD = b"nobody has read this"


def hold_memory() -> list[object]:
    """Things in memory: private, shared, of a file, an unusual needle across two pages, and text as UTF-16."""
    private = mmap.mmap(-1, 16 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    private[4096 - 8 : 4096 - 8 + len(NEEDLE)] = NEEDLE
    wide = "wide text".encode("utf-16-le")
    private[8192 : 8192 + len(wide)] = wide
    shared = mmap.mmap(-1, 4 * 4096)
    shared[:13] = b"shared secret"
    return [private, shared]


def hold_files(folder: Path) -> dict[str, object]:
    """Files: deleted, at a position, locked, mapped."""
    deleted = os.open(folder / "deleted", os.O_RDWR | os.O_CREAT, 0o640)
    os.write(deleted, b"content of a deleted file\n" * 10)
    (folder / "deleted").unlink()
    (folder / "kept").write_bytes(b"0123456789" * 100)
    kept = os.open(folder / "kept", os.O_RDWR | os.O_APPEND)
    os.lseek(kept, 123, os.SEEK_SET)
    fcntl.lockf(kept, fcntl.LOCK_EX, 10, 5)
    mapped = mmap.mmap(kept, 0)
    shm = os.open("/dev/shm/planted", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(shm, b"in shared memory")
    return {"deleted": deleted, "kept": kept, "shm": shm, "mapped": mapped}


def hold_sockets(folder: Path) -> dict[str, object]:
    """Sockets: TCP with unread bytes, a listener, unix by name and by pair, a pipe with content."""
    listening = socket.create_server(("127.0.0.1", 7001))
    near = socket.create_connection(("127.0.0.1", 7001))
    far, _ = listening.accept()
    near.sendall(UNREAD)
    named = socket.socket(socket.AF_UNIX)
    named.bind(str(folder / "named.sock"))
    named.listen(5)
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.send(b"a datagram waits")
    reading, writing = os.pipe()
    os.write(writing, b"content of a pipe")
    return {
        "listening": listening,
        "near": near,
        "far": far,
        "named": named,
        "left": left,
        "right": right,
        "pipe": (reading, writing),
    }


def numbers(held: dict[str, object]) -> dict[str, object]:
    """The descriptors of what is held."""
    found: dict[str, object] = {}
    for name, value in held.items():
        if isinstance(value, socket.socket):
            found[name] = value.fileno()
        elif isinstance(value, int | tuple):
            found[name] = value
    return found


def start_threads() -> list[int]:
    """Two threads, one with a name."""
    ctypes.CDLL(None).prctl(15, b"planted-main", 0, 0, 0)
    ready: list[int] = []

    def run() -> None:
        ready.append(threading.get_native_id())
        time.sleep(1e6)

    for _ in range(2):
        threading.Thread(target=run, daemon=True).start()
    while len(ready) < 2:
        time.sleep(0.01)
    return ready


def main() -> None:
    """Hold everything, say so, wait."""
    folder = Path(sys.argv[1])
    memory = hold_memory()
    held = {**hold_files(folder), **hold_sockets(folder)}
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    signal.signal(signal.SIGUSR1, lambda *_: None)
    os.kill(os.getpid(), signal.SIGUSR2)
    child = os.fork()
    if child == 0:
        os.setsid()
        os.execv("/bin/sleep", ["sleep", "1000000"])
    signal.setitimer(signal.ITIMER_REAL, 100000.0, 50000.0)
    facts = {"pid": os.getpid(), "child": child, "threads": start_threads(), "fds": numbers(held)}
    temporary = folder / "ready.new"
    temporary.write_text(json.dumps(facts))
    temporary.rename(folder / "ready")
    while True:
        time.sleep(1e6)
        print(len(memory), flush=True)


main()
