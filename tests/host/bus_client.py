"""Runs on the test host, beside the package: one call as an ordinary client makes it, and what the bus said meanwhile.

python3 bus_client.py '{"member":, "signature":, "body":, "file":, "then":, "seconds":, "until":}'
A variant in the body is {"variant": [SIGNATURE, VALUE]}. Without a member it only listens, from a line on
stdout on until something is written into the pipe `until`.
`file` is [PATH, FLAG...] (names such as O_RDONLY): a descriptor that goes along, number 0 in the body.
With `then`, a shell command that is run at once after the reply. Prints JSON:
{"reply": ..., "error": [NAME, TEXT] or null, "heard": [[MEMBER, PATH, BODY]...], "job": properties or null}
"""

from __future__ import annotations

import asyncio
import functools
import json
import operator
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dbus_next.aio.message_bus import MessageBus
from dbus_next.constants import BusType, MessageType
from dbus_next.message import Message
from dbus_next.signature import Variant

NAME = "org.dockerguardian.Guardian1"
ROOT = "/org/dockerguardian/Guardian1"


class Client:
    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.heard: list[list[Any]] = []
        self.removed = asyncio.Event()

    def hear(self, message: Message) -> None:
        if message.message_type is MessageType.METHOD_RETURN and message.signature == "o":
            self.heard.append(["reply", message.body[0], []])
        if message.message_type is MessageType.SIGNAL and str(message.path).startswith(ROOT):
            self.heard.append([message.member, message.path, plain(message.body)])
            if message.member == "JobRemoved":
                self.removed.set()

    async def call(
        self,
        destination: str,
        path: str,
        member: str,
        signature: str,
        body: list[Any],
        descriptors: Sequence[int] = (),
    ) -> Message:
        bus = "org.freedesktop.DBus"
        interface = {"GetAll": f"{bus}.Properties", "AddMatch": bus, "GetId": bus}
        message = Message(
            destination=destination,
            path=path,
            interface=interface.get(member, NAME),
            member=member,
            signature=signature,
            body=body,
            unix_fds=list(descriptors),
        )
        reply = await self.bus.call(message)
        assert reply is not None
        return reply


def variants(value: Any) -> Any:
    if isinstance(value, list):
        return [variants(item) for item in value]
    if isinstance(value, dict):
        if "variant" in value:
            return Variant(*value["variant"])
        return {key: variants(item) for key, item in value.items()}
    return value


def plain(value: Any) -> Any:
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def opened(path: str, *flags: str) -> list[int]:
    return [os.open(path, functools.reduce(operator.or_, (getattr(os, flag) for flag in flags)), 0o600)]


async def main(wanted: dict[str, Any]) -> dict[str, Any]:
    client = Client(await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect())
    rule = f"type='signal',path_namespace='{ROOT}'"
    await client.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "AddMatch", "s", [rule])
    client.bus.add_message_handler(client.hear)
    found: dict[str, Any] = {"reply": None, "error": None, "job": None, "heard": client.heard}
    if "member" not in wanted:
        print("listening", flush=True)
        await asyncio.to_thread(Path(wanted["until"]).read_bytes)
        # Whatever the bus had for us by now comes before this answer.
        await client.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "GetId", "", [])
        return found
    descriptors = opened(*wanted["file"]) if "file" in wanted else []
    reply = await client.call(
        NAME,
        ROOT,
        wanted["member"],
        wanted.get("signature", ""),
        variants(wanted.get("body", [])),
        descriptors,
    )
    for descriptor in descriptors:
        os.close(descriptor)
    if "then" in wanted:
        subprocess.run(wanted["then"], shell=True, check=True)  # noqa: ASYNC221
    if reply.message_type is MessageType.ERROR:
        found["error"] = [reply.error_name, reply.body[0]]
        return found
    found["reply"] = plain(reply.body)[0]
    if reply.signature == "o":
        await asyncio.wait_for(client.removed.wait(), wanted.get("seconds", 60))
        properties = await client.call(NAME, reply.body[0], "GetAll", "s", [f"{NAME}.Job"])
        found["job"] = plain(properties.body)[0]
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
