"""Export, Import and Migrate on their way to the worker: descriptors over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from dbus_next.message import Message
from dbus_next.signature import Variant

from guardian.faces.bus import Guardian
from guardian.faces.bus_dispatch import BusObject, Caller, Dispatch
from guardian.faces.bus_interface import NAME, ROOT, promised
from guardian.faces.bus_jobs import Jobs
from guardian.faces.bus_worker import Refused
from guardian.host import paths
from guardian.model.errors import BadInput

ME = Caller(":1.1")
RESULT = {
    "container_id": "abc",
    "name": "web",
    "outcome": "exported",
    "reason": "",
    "seconds": 1.5,
    "checkpoint": "c",
}
DONE = {"done": 0, "results": [RESULT], "error": None}
REFUSED = {"done": 4, "results": [], "error": {"name": "NoCheckpoint", "text": "there is none"}}


class Stage:
    """A worker that receives one request, and what the bus is told."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self._answers = answers
        self.asked: list[dict[str, Any]] = []
        self.descriptors: list[int] = []
        self.ended = asyncio.Event()
        self.jobs = Jobs(self, lambda: None)
        self.guardian = Guardian(self.jobs)
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(paths.WORKER_SOCKET))
        self.listening.listen(1)

    def emit(self, _path: str, _interface: str, member: str, *_values: Any) -> None:
        if member == "JobRemoved":
            self.ended.set()

    def changed(self, path: str, interface: str, values: dict[str, Any], names: Any) -> None:
        pass

    def serve(self) -> None:
        connection, _ = self.listening.accept()
        with connection:
            line, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 4)
            self.asked.append(json.loads(line))
            self.descriptors += descriptors
            connection.sendall(b"".join(json.dumps(answer).encode() + b"\n" for answer in self._answers))

    def dispatch(self) -> Dispatch:
        root = BusObject(promised()[NAME], self.guardian.methods, dict)
        return Dispatch({ROOT: root}.get, lambda: iter([ROOT]))


@pytest.fixture(autouse=True)
def worker_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "WORKER_SOCKET", tmp_path / "worker.sock")


def play(scene: Callable[[Stage], Awaitable[None]], *answers: dict[str, Any]) -> Stage:
    async def within() -> Stage:
        stage = Stage(list(answers))
        try:
            async with asyncio.timeout(10):
                serving = asyncio.create_task(asyncio.to_thread(stage.serve)) if answers else None
                await scene(stage)
                if serving:
                    await serving
        finally:
            stage.listening.close()
        return stage

    return asyncio.run(within())


def call(member: str, signature: str, body: list[Any], descriptors: list[int]) -> Message:
    return Message(
        path=ROOT,
        interface=NAME,
        member=member,
        signature=signature,
        body=body,
        unix_fds=descriptors,
        sender=":1.7",
        serial=9,
    )


def test_an_export_takes_its_descriptor_to_the_worker(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, (tmp_path / "other").open("wb") as other:

        async def scene(stage: Stage) -> None:
            message = call(
                "Export", "sha{sv}", ["web", 0, {"with-image": Variant("b", True)}], [file.fileno()]
            )
            reply = await stage.dispatch().answer(message)
            assert reply.signature == "o", reply.body
            await stage.ended.wait()
            job = stage.jobs.get(reply.body[0])
            assert job is not None
            values = job.values()
            assert (values["Kind"], values["Result"], values["Progress"]) == ("export", "done", ["one"])
            assert values["Results"][0]["outcome"] == Variant("s", "exported")

        stage = play(scene, {"accepted": True}, {"say": "one"}, DONE)
        (found,) = stage.descriptors
        assert os.path.sameopenfile(found, file.fileno())
        assert not os.path.sameopenfile(found, other.fileno())
        os.close(found)
    (asked,) = stage.asked
    assert (asked["call"], asked["containers"]) == ("export", ["web"])
    assert asked["errand"] == {"host": "", "options": {"with-image": True}}


@pytest.mark.parametrize(
    ("member", "signature", "body", "count", "said"),
    [
        ("Export", "sha{sv}", ["web", 0, {}], 0, "takes 1 file descriptors, not 0"),
        ("Export", "sha{sv}", ["web", 0, {}], 2, "takes 1 file descriptors, not 2"),
        ("Export", "sha{sv}", ["web", 1, {}], 1, "names a descriptor that is not there"),
        ("Import", "ha{sv}", [4294967295, {}], 1, "names a descriptor that is not there"),
        ("List", "a{sv}", [{}], 1, "takes 0 file descriptors, not 1"),
    ],
)
def test_calls_with_the_wrong_descriptors(
    member: str, signature: str, body: list[Any], count: int, said: str
) -> None:
    async def scene(stage: Stage) -> None:
        reply = await stage.dispatch().answer(call(member, signature, body, [0] * count))
        assert reply.error_name == "org.freedesktop.DBus.Error.InvalidArgs"
        assert said in reply.body[0]

    play(scene)


def test_a_migration_as_it_is_asked_of_the_worker() -> None:
    async def scene(stage: Stage) -> None:
        options = {"limit": Variant("d", 60), "check": Variant("b", True)}
        await stage.guardian.migrate(ME, ["web"], "two", options)
        await stage.ended.wait()

    (asked,) = play(scene, {"accepted": True}, DONE).asked
    assert asked["errand"] == {"host": "two", "options": {"limit": 60, "check": True}}


def test_what_the_worker_refuses_is_the_reply(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        with (tmp_path / "file").open("wb") as file, pytest.raises(Refused, match="there is none"):
            await stage.guardian.export(ME, "web", file.fileno(), {})
        assert stage.jobs.paths() == []

    for descriptor in play(scene, REFUSED).descriptors:
        os.close(descriptor)


def test_what_is_hostile_never_reaches_the_worker() -> None:
    async def scene(stage: Stage) -> None:
        for asked in (
            stage.guardian.export(ME, "-o", 0, {}),
            stage.guardian.export(ME, "web", 0, {"with-image": Variant("s", "yes")}),
            stage.guardian.export(ME, "web", 0, {"output": Variant("s", "/etc/passwd")}),
            stage.guardian.take_in(ME, 0, {"identity": Variant("s", "/root/key")}),
            stage.guardian.take_in(ME, 0, {"name": Variant("s", "--force")}),
            stage.guardian.migrate(ME, ["web"], "-oProxyCommand=x", {}),
            stage.guardian.migrate(ME, ["--sudo"], "two", {}),
            stage.guardian.migrate(ME, ["web"], "two", {"limit": Variant("s", "60")}),
        ):
            with pytest.raises(BadInput):
                await asked
        stage.listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            stage.listening.accept()

    play(scene)
