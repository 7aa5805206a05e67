"""guardiand: guardian on the system bus. It runs no CRIU and asks no dockerd, it asks the worker.

It is started by whoever calls it, and ends when nobody has for a while. Its interface is promised by
org.dockerguardian.Guardian1.xml beside this file.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dbus_next.aio.message_bus import MessageBus
from dbus_next.constants import BusType, MessageFlag, MessageType, NameFlag, RequestNameReply
from dbus_next.message import Message
from dbus_next.signature import Variant

from guardian import __version__
from guardian.faces import bus_values, errands, worker_client
from guardian.faces.bus_dispatch import BusObject, Caller, Dispatch, Method, properties_changed
from guardian.faces.bus_inspect import inspection_of
from guardian.faces.bus_interface import JOB, NAME, PROPERTIES, ROOT, promised, standard
from guardian.faces.bus_jobs import Jobs, Signals
from guardian.faces.bus_worker import Conversation, raise_if_refused
from guardian.faces.jobs import Call
from guardian.faces.worker_client import Answer, WorkerUnavailable
from guardian.model.errors import BadInput
from guardian.model.states import FORMAT

log = logging.getLogger("guardian.bus")

IDLE = 300.0
"""After so many seconds without a call or a job guardiand ends; GUARDIAND_IDLE_SECONDS in its unit changes that."""

_REFUSAL_WITHIN = 10.0
"""For so long a reply waits to learn that the call is accepted or refused; busctl itself waits for 25 seconds."""

_LIST_WITHIN = 20.0

Options = Mapping[str, Variant]


class Guardian:
    """What the methods of the root object do."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self.methods: Mapping[str, Method] = {
            "Checkpoint": self.checkpoint,
            "Snapshot": self.snapshot,
            "Inspect": self.inspect,
            "Restore": self.restore,
            "Release": self.release,
            "Export": self.export,
            "Import": self.take_in,
            "Migrate": self.migrate,
            "List": self.list_all,
            "Plan": self.plan,
        }

    async def checkpoint(self, caller: Caller, containers: list[str], options: Options) -> str:
        """Save containers; returns the path of the job."""
        given = bus_values.flags("Checkpoint", options, "leave-running")
        call = Call.SNAPSHOT if given["leave-running"] else Call.CHECKPOINT
        request = worker_client.request(call, tuple(containers))
        return await self._begin(caller, Call.CHECKPOINT, containers, request)

    async def snapshot(self, caller: Caller, containers: list[str], options: Options) -> str:
        """Save containers that go on; returns the path of the job."""
        note = bus_values.note("Snapshot", options)
        request = worker_client.request(Call.SNAPSHOT, tuple(containers), note=note)
        return await self._begin(caller, Call.SNAPSHOT, containers, request)

    async def inspect(self, caller: Caller, subject: str, options: Options) -> int:
        """What a container was doing, as a descriptor of a file with JSON."""
        bus_values.flags("Inspect", options)
        log.info("inspect of %s, asked for by %s", ascii(subject), caller.sender)
        return await inspection_of(subject)

    async def restore(self, caller: Caller, containers: list[str], options: Options) -> str:
        """Let containers go on; returns the path of the job."""
        bus_values.flags("Restore", options)
        request = worker_client.request(Call.RESTORE, tuple(containers))
        return await self._begin(caller, Call.RESTORE, containers, request)

    async def release(self, caller: Caller, containers: list[str], options: Options) -> str:
        """End the hold of containers; returns the path of the job."""
        given = bus_values.flags("Release", options, "discard")
        if not containers:
            raise BadInput("Release was asked for no container", "what gives up memory is asked for by name")
        request = worker_client.request(Call.RELEASE, tuple(containers), start=not given["discard"])
        return await self._begin(caller, Call.RELEASE, containers, request)

    async def export(self, caller: Caller, subject: str, file: int, options: Options) -> str:
        """Write an archive into a descriptor; returns the path of the job."""
        return await self._errand(caller, Call.EXPORT, [subject], options, file=file)

    async def take_in(self, caller: Caller, file: int, options: Options) -> str:
        """Make the container of an archive; returns the path of the job."""
        return await self._errand(caller, Call.IMPORT, [], options, file=file)

    async def migrate(self, caller: Caller, containers: list[str], host: str, options: Options) -> str:
        """Move containers to another host; returns the path of the job."""
        return await self._errand(caller, Call.MIGRATE, containers, options, host=host)

    async def list_all(self, _caller: Caller, options: Options) -> list[dict[str, Variant]]:
        """The guarded containers."""
        bus_values.flags("List", options)
        answer = await _at_once(worker_client.request(Call.LIST))
        return bus_values.containers(answer.results)

    async def plan(self, _caller: Caller, containers: list[str], options: Options) -> str:
        """What saving containers would come to, as JSON."""
        bus_values.flags("Plan", options)
        answer = await _at_once(worker_client.request(Call.PLAN, tuple(containers)))
        return bus_values.text(json.dumps(answer.results[0]))

    async def _errand(
        self,
        caller: Caller,
        call: Call,
        names: list[str],
        options: Options,
        *,
        host: str = "",
        file: int | None = None,
    ) -> str:
        """A job that guardianctl does for the worker."""
        allowed = {key: option.type for key, option in errands.OPTIONS[call].items()}
        given = bus_values.options(call.value.capitalize(), options, allowed)
        errand = errands.of(call, names, {"host": host, "options": given})
        request = worker_client.request(call, errand.names, errand=errand.to_json())
        shown = [*errand.names, *([host] if host else [])] or ["an archive"]
        return await self._begin(caller, call, shown, request, file)

    async def _begin(
        self, caller: Caller, kind: Call, containers: list[str], request: bytes, file: int | None = None
    ) -> str:
        """A job, unless the worker refuses at once: then Refused is raised. Later refusals are the job's."""
        conversation = await Conversation.begin(request, file)
        said = None
        try:
            said = await asyncio.wait_for(conversation.next(), _REFUSAL_WITHIN)
            if isinstance(said, Answer):
                raise_if_refused(said)
        except TimeoutError:
            log.warning("%s: the worker has neither accepted nor refused yet", kind.value)
        except BaseException:
            conversation.close()
            raise
        job = self._jobs.begin(kind.value, conversation, said)
        names = " ".join(map(ascii, containers)) or "all"
        log.info("job %d: %s of %s, asked for by %s", job.id, kind.value, names, caller.sender)
        return job.path


class Service(Signals):
    """guardiand on one connection to the bus."""

    def __init__(self, bus: MessageBus, idle: float) -> None:
        self._bus = bus
        self._idle = idle
        self._calls: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()
        self._jobs = Jobs(self, self._touch)
        self._root = BusObject(
            promised()[NAME],
            Guardian(self._jobs).methods,
            lambda: {"Version": __version__, "FormatVersion": FORMAT},
        )
        self._dispatch = Dispatch(self.find, self.paths)
        self._touch()

    def find(self, path: str) -> BusObject | None:
        """The object at a path."""
        if path == ROOT:
            return self._root
        job = self._jobs.get(path)
        return None if job is None else BusObject(promised()[JOB], {}, job.values)

    def paths(self) -> Iterator[str]:
        """The paths of all objects."""
        yield ROOT
        yield from self._jobs.paths()

    def emit(self, path: str, interface: str, member: str, *values: Any) -> None:
        """Send a signal."""
        signature = {**promised(), **standard()}[interface].signals[member]
        self._bus.send(Message.new_signal(path, interface, member, signature, list(values)))

    def changed(self, path: str, interface: str, values: dict[str, Any], names: Iterable[str]) -> None:
        """Tell that properties have changed."""
        told = properties_changed(promised()[interface], values, list(names))
        self.emit(path, PROPERTIES, "PropertiesChanged", *told)

    async def serve(self) -> int:
        """Take the name and answer, until told to stop, cut off or idle; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        self._bus.add_message_handler(self._take)
        if await self._bus.request_name(NAME, NameFlag.DO_NOT_QUEUE) is not RequestNameReply.PRIMARY_OWNER:
            log.error("somebody else has the name %s", NAME)
            return 1
        log.info("guardian %s, on the bus", __version__)
        cut_off = loop.create_task(self._bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
        stopped = loop.create_task(self._stopped.wait())
        while (left := self._left()) > 0:
            await asyncio.wait({cut_off, stopped}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if cut_off.done():
                log.error("cut off from the bus: %r", cut_off.exception())
                return 1
            if stopped.done():  # what runs goes on without us
                return 0
        await self._leave()
        return 0

    def _left(self) -> float:
        """How many seconds are left until it ends for want of work."""
        if self._calls or self._jobs.paths():
            return self._idle
        return self._active + self._idle - asyncio.get_running_loop().time()

    def _touch(self) -> None:
        self._active = asyncio.get_running_loop().time()

    async def _leave(self) -> None:
        """Give the name back, and answer who called just before: nobody is turned away by an idle end."""
        log.info("nobody has called for %g s", self._idle)
        await self._bus.release_name(NAME)
        while under_way := self._calls | self._jobs.running():
            await asyncio.wait(under_way)

    def _take(self, message: Message) -> bool:
        """Every message comes by here; calls are ours. Returns whether it is dealt with."""
        if message.message_type is not MessageType.METHOD_CALL:
            _close(message)
            return False
        self._touch()
        task = asyncio.get_running_loop().create_task(self._answer(message))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return True

    async def _answer(self, call: Message) -> None:
        try:
            reply = await self._dispatch.answer(call)
        finally:
            _close(call)
        try:
            if not call.flags & MessageFlag.NO_REPLY_EXPECTED:
                # Sent before anything else gets to run: a job's end is never told before its beginning.
                await self._bus.send(reply)
        finally:
            _close(reply)


async def _at_once(request: bytes) -> Answer:
    """The answer to a call that makes no job; raises Refused or WorkerUnavailable."""
    async with await Conversation.begin(request) as conversation:
        try:
            answer = await asyncio.wait_for(conversation.end(), _LIST_WITHIN)
        except TimeoutError as error:
            raise WorkerUnavailable(
                "the worker does not answer", f"not within {_LIST_WITHIN:g} s", hint="is dockerd stuck?"
            ) from error
    raise_if_refused(answer)
    return answer


def _close(message: Message) -> None:
    """Close the descriptors that came with a message, or went."""
    for descriptor in message.unix_fds:
        os.close(descriptor)


async def _serve() -> int:
    idle = float(os.environ.get("GUARDIAND_IDLE_SECONDS", IDLE))
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    return await Service(bus, idle).serve()


def main() -> int:
    """Entry point of guardiand.service."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return asyncio.run(_serve())
