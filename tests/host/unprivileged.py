"""Runs on the test host as somebody without rights: tries what it is told to, prints what worked.

python3 unprivileged.py bus '[[PATH, INTERFACE, MEMBER, SIGNATURE, BODY]...]'   prints [[MEMBER, ERROR or null]...]
python3 unprivileged.py listen SECONDS         prints the signals of guardian's that were heard, and how it began
python3 unprivileged.py own NAME               prints what the bus said
python3 unprivileged.py files < NUL-SEPARATED  prints {PATH: [what worked]...}
"""

from __future__ import annotations

# Names are bytes, as the kernel has them.
# ruff: noqa: PTH102, PTH108, PTH110, PTH120
import asyncio
import json
import os
import socket
import stat
import sys
from typing import Any

_NAME = "org.dockerguardian.Guardian1"
_DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus")


async def _connected() -> Any:
    from dbus_next.aio.message_bus import MessageBus  # noqa: PLC0415
    from dbus_next.constants import BusType  # noqa: PLC0415

    return await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()


async def _bus(calls: list[list[Any]]) -> list[list[Any]]:
    from dbus_next.message import Message  # noqa: PLC0415
    from dbus_next.signature import Variant  # noqa: PLC0415

    bus = await _connected()
    found = []
    for path, interface, member, signature, body in calls:
        arguments = [Variant("s", "x") if item == "VARIANT" else item for item in body]
        descriptors = [os.open("/dev/null", os.O_RDWR)] * signature.count("h")
        call = Message(
            _NAME, path, interface, member, signature=signature, body=arguments, unix_fds=descriptors
        )
        reply = await asyncio.wait_for(bus.call(call), 40)
        found.append([f"{interface}.{member}", reply.error_name])
    return found


async def _listen(seconds: float) -> dict[str, Any]:
    from dbus_next.message import Message  # noqa: PLC0415

    bus = await _connected()
    heard: list[str] = []
    bus.add_message_handler(
        lambda message: heard.append(message.member) if "guardian" in str(message.path) else None
    )
    rules = []
    for member, signature, body in (
        ("AddMatch", "s", [f"type='signal',sender='{_NAME}'"]),
        ("AddMatch", "s", ["type='signal',path_namespace='/org/dockerguardian'"]),
        ("AddMatch", "s", ["eavesdrop=true"]),
        ("BecomeMonitor", "asu", [[], 0]),
    ):
        interface = "org.freedesktop.DBus.Monitoring" if member == "BecomeMonitor" else "org.freedesktop.DBus"
        call = Message(*_DAEMON, interface, member, signature=signature, body=body)
        rules.append([member, (await bus.call(call)).error_name])
    print("listening", file=sys.stderr, flush=True)
    await asyncio.sleep(seconds)
    return {"rules": rules, "heard": heard}


async def _own(name: str) -> str:
    from dbus_next.message import Message  # noqa: PLC0415

    bus = await _connected()
    call = Message(*_DAEMON, "org.freedesktop.DBus", "RequestName", signature="su", body=[name, 4])
    reply = await bus.call(call)
    return str(reply.error_name or reply.body)


def _tried(path: bytes) -> list[str]:
    """What can be done with a path."""
    worked = []
    for name, flags in (
        ("read", os.O_RDONLY | os.O_NONBLOCK),
        ("write", os.O_WRONLY | os.O_NONBLOCK),
        ("both", os.O_RDWR | os.O_NONBLOCK),
        ("create", os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK),
    ):
        try:
            os.close(os.open(path, flags))
        except OSError:
            continue
        worked.append(name)
    for name, attempt in (
        ("list", lambda: os.listdir(path)),
        ("look", lambda: os.lstat(path)),
        ("make", lambda: os.mkdir(path + b"/unprivileged")),
        ("link", lambda: os.link(path, b"/tmp/unprivileged-link")),
        ("rename", lambda: os.rename(path, path + b".unprivileged")),
        ("chmod", lambda: os.chmod(path, 0o777)),
        ("delete", lambda: os.unlink(path)),
        ("connect", lambda: _connect(path)),
    ):
        try:
            attempt()
        except OSError:
            continue
        worked.append(name)
    return worked


def _connect(path: bytes) -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as tried:
            try:
                tried.connect(path)
            except OSError:
                continue
            return
    raise PermissionError


def _files(paths: list[bytes]) -> dict[str, list[str]]:
    found = {os.fsdecode(path): _tried(path) for path in paths if path}
    return {path: worked for path, worked in found.items() if worked}


def _watched(roots: list[str], until: str) -> dict[str, Any]:
    """As root: walk trees again and again until a file is there; what others could reach or read meanwhile."""
    rounds = 0
    entries, reachable, loose = set[str](), set[str](), set[str]()
    while not os.path.exists(until):
        rounds += 1
        for root in roots:
            _walk(root, os.path.dirname(root), entries, reachable, loose)
    return {
        "rounds": rounds,
        "entries": len(entries),
        "reachable": sorted(reachable),
        "loose": sorted(loose),
    }


def _walk(path: str, above: str, entries: set[str], reachable: set[str], loose: set[str]) -> None:
    """What is below a path, and can be come by without rights."""
    open_way = all(os.stat(each).st_mode & 0o011 for each in _ancestors(above))
    queue = [(path, open_way)]
    while queue:
        current, way = queue.pop()
        try:
            mode = os.lstat(current).st_mode
            entries.add(current)
            # Who may connect to a socket is whoever may write it (unix(7)).
            others = 0o022 if stat.S_ISSOCK(mode) else 0o077
            if mode & others and not stat.S_ISLNK(mode):
                if "/.criu." not in current:  # what CRIU mounts there
                    loose.add(f"{stat.S_IMODE(mode):04o} {current}")
                if way:
                    reachable.add(f"{stat.S_IMODE(mode):04o} {current}")
            if stat.S_ISDIR(mode):
                inner = way and bool(mode & 0o011)
                queue += [(f"{current}/{name}", inner) for name in os.listdir(current)]
        except (FileNotFoundError, NotADirectoryError):
            continue


def _ancestors(path: str) -> list[str]:
    return [path] if path == "/" else [path, *_ancestors(os.path.dirname(path))]


def main() -> None:
    """Try it."""
    match sys.argv[1:]:
        case ["bus", calls]:
            print(json.dumps(asyncio.run(_bus(json.loads(calls)))))
        case ["listen", seconds]:
            print(json.dumps(asyncio.run(_listen(float(seconds)))))
        case ["own", name]:
            print(json.dumps(asyncio.run(_own(name))))
        case ["files"]:
            print(json.dumps(_files(sys.stdin.buffer.read().split(b"\0"))))
        case ["watch", until, *roots]:
            print(json.dumps(_watched(roots, until)))
        case _:
            sys.exit(2)


main()
