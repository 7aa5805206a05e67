"""Jobs follow the worker to the end, and can be read afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import Variant

from guardian.faces import bus, bus_jobs
from guardian.faces.bus import Guardian
from guardian.faces.bus_dispatch import Caller
from guardian.faces.bus_jobs import Job, Jobs
from guardian.faces.bus_worker import Conversation, Refused
from guardian.faces.worker_client import Answer, WorkerUnavailable
from guardian.host import paths
from guardian.model.errors import BadInput

ROOT = "/org/dockerguardian/Guardian1"
ME = Caller(":1.1")
ACCEPTED: dict[str, Any] = {"accepted": True}
DONE: dict[str, Any] = {"done": 0, "results": [], "error": None}
REFUSED: dict[str, Any] = {"done": 4, "results": [], "error": {"name": "Busy", "text": "later"}}
RESULT = {
    "container_id": "abc",
    "name": "redis",
    "outcome": "saved",
    "reason": "",
    "seconds": 1.5,
    "checkpoint": "c",
}
Scene = Callable[["Stage"], Awaitable[None]]


class Stage:
    """A worker that says what the test wants, and a bus that remembers what it was told."""

    def __init__(self) -> None:
        self.worker: asyncio.Queue[Any] = asyncio.Queue()
        self.asked: list[dict[str, Any]] = []
        self.told: list[tuple[Any, ...]] = []
        self.ended = asyncio.Event()
        self.gone = asyncio.Event()
        self.jobs = Jobs(self, self.gone.set)
        self.guardian = Guardian(self.jobs)

    def emit(self, path: str, interface: str, member: str, *values: Any) -> None:
        assert (path, interface) == (ROOT, "org.dockerguardian.Guardian1")
        self.told.append((member, *values))
        if member == "JobRemoved":
            self.ended.set()

    def changed(self, path: str, interface: str, values: dict[str, Any], names: Any) -> None:
        assert interface == "org.dockerguardian.Guardian1.Job"
        self.told.append((path, {name: values[name] for name in names}))

    def say(self, *lines: Any) -> None:
        for line in lines:
            self.worker.put_nowait(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")

    def hang_up(self) -> None:
        self.worker.put_nowait(None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(json.loads(await reader.readline()))
        while (line := await self.worker.get()) is not None:
            writer.write(line)
        writer.close()

    def job(self, path: str) -> Job:
        found = self.jobs.get(path)
        assert found is not None
        return found


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    async with await asyncio.start_unix_server(made.serve, str(paths.WORKER_SOCKET)):
        yield made
        made.hang_up()


@pytest.fixture(autouse=True)
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "WORKER_SOCKET", tmp_path / "worker.sock")


def play(scene: Scene) -> None:
    async def within() -> None:
        async with stage() as made, asyncio.timeout(10):
            await scene(made)

    asyncio.run(within())


def test_a_job_from_beginning_to_end() -> None:
    async def scene(stage: Stage) -> None:
        stage.say(ACCEPTED)
        path = await stage.guardian.checkpoint(ME, ["redis"], {"leave-running": Variant("b", True)})
        job = stage.job(path)
        assert (job.running, job.path) == (True, f"{ROOT}/job/{job.id}")
        stage.say(
            {"say": "one"}, {"a line of a later worker": 1}, {"say": "two"}, DONE | {"results": [RESULT]}
        )
        await stage.ended.wait()

        assert stage.asked == [
            {"call": "snapshot", "containers": ["redis"], "start": False, "force": False, "note": ""}
        ]
        values = job.values()
        assert (values["State"], values["Result"], values["Error"]) == ("finished", "done", ["", ""])
        assert values["Results"][0]["name"] == Variant("s", "redis")
        assert stage.told == [
            ("JobNew", job.id, path),
            (path, {"LastLine": "one", "Progress": ["one"]}),
            (path, {"LastLine": "two", "Progress": ["one", "two"]}),
            (path, {"State": "finished", "Result": "done", "Results": values["Results"]}),
            ("JobRemoved", job.id, path, "done"),
        ]
        assert all(task.done() for task in stage.jobs.running())

    play(scene)


def test_what_is_asked_of_the_worker() -> None:
    async def scene(stage: Stage) -> None:
        stage.say(DONE)
        await stage.guardian.restore(ME, [], {})
        for options in ({}, {"discard": Variant("b", True)}):
            stage.hang_up()
            stage.say(ACCEPTED)
            await stage.guardian.release(ME, ["a"], options)
        assert [(asked["call"], asked["containers"], asked["start"]) for asked in stage.asked] == [
            ("restore", [], False),
            ("release", ["a"], True),
            ("release", ["a"], False),
        ]

    play(scene)


def test_a_refusal_is_the_reply_and_makes_no_job() -> None:
    async def scene(stage: Stage) -> None:
        stage.say(REFUSED)
        with pytest.raises(Refused, match="later") as caught:
            await stage.guardian.restore(ME, ["redis"], {})
        assert caught.value.name == "Busy"
        assert stage.told == []
        assert stage.jobs.paths() == []

    play(scene)


def test_bad_options_never_reach_the_worker() -> None:
    async def scene(stage: Stage) -> None:
        with pytest.raises(BadInput):
            await stage.guardian.checkpoint(ME, [], {"discard": Variant("b", True)})
        with pytest.raises(BadInput):
            await stage.guardian.release(ME, [], {})
        assert stage.asked == []

    play(scene)


def test_a_late_refusal_is_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "_REFUSAL_WITHIN", 0.05)

    async def scene(stage: Stage) -> None:
        path = await stage.guardian.restore(ME, ["redis"], {})
        stage.say(REFUSED)
        await stage.ended.wait()
        values = stage.job(path).values()
        assert values["Result"] == "refused"
        assert values["Error"] == ["org.dockerguardian.Guardian1.Error.Busy", "later"]

    play(scene)


@pytest.mark.parametrize(
    "ending", [None, b"no json\n", b"7\n", b"\xff\n", b'{"done": 77, "results": []}\n', b'{"done": 0}\n']
)
def test_a_worker_that_breaks_off(ending: bytes | None) -> None:
    async def scene(stage: Stage) -> None:
        stage.say(ACCEPTED)
        path = await stage.guardian.restore(ME, ["redis"], {})
        stage.worker.put_nowait(ending)
        await stage.ended.wait()
        values = stage.job(path).values()
        assert (values["State"], values["Result"]) == ("finished", "failed")
        assert values["Error"][0] == "org.dockerguardian.Guardian1.Error.WorkerUnavailable"

    play(scene)


def test_results_that_are_none_end_the_job_all_the_same() -> None:
    async def scene(stage: Stage) -> None:
        stage.say(ACCEPTED, DONE | {"results": [{"name": "redis"}]})
        path = await stage.guardian.restore(ME, ["redis"], {})
        await stage.ended.wait()
        assert stage.job(path).values()["Error"][0] == "org.dockerguardian.Guardian1.Error.Failed"

    play(scene)


def test_no_worker() -> None:
    async def scene(_stage: Stage) -> None:
        paths.WORKER_SOCKET.unlink()
        with pytest.raises(WorkerUnavailable, match="guardian-worker"):
            await _stage.guardian.list_all(ME, {})

    play(scene)


def test_a_worker_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "_LIST_WITHIN", 0.05)

    async def scene(stage: Stage) -> None:
        with pytest.raises(WorkerUnavailable, match="not within"):
            await stage.guardian.list_all(ME, {})

    play(scene)


def test_a_list_longer_than_a_stream_takes_by_itself() -> None:
    item = {"id": "abc", "name": "redis", "state": "running", "savable": True, "reasons": ["x" * 200]}
    item |= {"problems": [], "depends_on": [], "checkpoint": None, "last": None}

    async def scene(stage: Stage) -> None:
        stage.say(DONE | {"results": [item] * 2000})
        assert len(await stage.guardian.list_all(ME, {})) == 2000

    play(scene)


def test_a_job_can_be_read_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_jobs, "KEPT", 0.2)

    async def scene(stage: Stage) -> None:
        stage.say(DONE)
        path = await stage.guardian.restore(ME, [], {})
        await stage.ended.wait()
        assert stage.job(path).result == "done"
        await stage.gone.wait()
        assert stage.jobs.get(path) is None

    play(scene)


def test_a_job_that_was_over_at_once_ends_after_its_path_is_known() -> None:
    async def scene(stage: Stage) -> None:
        stage.say(DONE)
        path = await stage.guardian.restore(ME, [], {})
        assert [member for member, *_ in stage.told] == ["JobNew"]
        assert stage.job(path).running

    play(scene)


def test_only_the_last_lines_are_kept() -> None:
    job = Job(1, "restore")
    for number in range(1500):
        job.say(f"{number}\0")
    assert (len(job.values()["Progress"]), job.values()["Progress"][0]) == (1000, "500?")


def test_ids_fit_and_do_not_come_again() -> None:
    first = bus_jobs.first_id()
    assert 0 <= first < 1 << 32
    assert bus_jobs.following(first) == first + 1
    assert bus_jobs.following((1 << 32) - 1) == 1


def test_lines_of_the_conversation() -> None:
    async def scene(stage: Stage) -> None:
        stage.say(ACCEPTED, {"say": "one"}, DONE)
        async with await Conversation.begin(b"{}\n") as conversation:
            assert await conversation.next() is None
            assert await conversation.next() == "one"
            assert isinstance(await conversation.end(), Answer)

    play(scene)
