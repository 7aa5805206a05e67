"""Targets of the faces: what comes over the worker's socket, both ways, and calls over D-Bus."""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Coroutine
from typing import Any

from dbus_next.message import Message
from dbus_next.signature import SignatureTree, Variant

from guardian.faces import bus, bus_inspect, bus_values, worker_client
from guardian.faces.bus_dispatch import BusObject, Dispatch
from guardian.faces.bus_interface import JOB, NAME, ROOT, promised, standard
from guardian.faces.bus_jobs import Job, Jobs
from guardian.faces.caller import Caller
from guardian.faces.incoming import Incoming
from guardian.faces.jobs import Call
from guardian.faces.worker_client import Answer, WorkerUnavailable
from guardian.faces.worker_errand import request_of
from tests.fuzz.fast.outcome import Rejected
from tests.fuzz.fast.target import DEEP, JSON_WORDS, Target, coded, loaded, refusing

_FILE = os.memfd_create("beside")


def _request(data: bytes) -> str:
    """The first byte says how many descriptors come along."""
    here, there = socket.socketpair()
    with here, there, Incoming(there) as incoming:
        count = data[0] % 4 if data else 0
        socket.send_fds(here, [data[1:] or b"\n"], [_FILE] * count)
        here.shutdown(socket.SHUT_WR)
        with refusing():
            request, errand, descriptor = request_of(incoming)
        if errand is not None:
            words = errand.command(descriptor)
            at = words.index("--")
            assert all(
                word.startswith(("guardianctl", "-")) or word == errand.call.value for word in words[:at]
            ), words
            assert not any(word.startswith("-") and word != "-" for word in words[at + 1 :]), words
            assert not any("\0" in word or "\n" in word for word in words), words
    assert request.call in Call
    return request.call.value


def _heard(data: bytes) -> str:
    """A line of a conversation that the worker leads."""
    here, there = socket.socketpair()
    with here, there, Incoming(there) as incoming:
        here.sendall(data)
        here.shutdown(socket.SHUT_WR)
        return f"{bool(Caller(there, incoming).hear(1.0))}"


def _answer(data: bytes) -> str:
    """What the worker says, as guardianctl and the bus take it."""
    with refusing(ValueError):
        said = worker_client.answer(data.decode())
    if not isinstance(said, Answer):
        return f"{type(said).__name__}"
    job = Job(1, "checkpoint")
    try:
        job.finish(said)
    except (KeyError, TypeError, ValueError) as error:  # as bus_values.results has it
        raise Rejected(type(error).__name__) from error
    _verified("aa{sv}", job.values()["Results"])
    _verified("(ss)", job.values()["Error"])
    job.say(str(said.results)[:200])
    return said.status.name


def _listed(data: bytes) -> str:
    value = loaded(data)
    with refusing(KeyError, TypeError, ValueError, AttributeError):
        found = bus_values.containers(value)
    _verified("aa{sv}", found)
    return f"{len(found) > 0}"


def _verified(signature: str, value: Any) -> None:
    """What goes out must be what the bus carries: it cuts off whoever sends anything else."""
    message = Message.new_signal("/x", "a.b", "C", signature, [value])
    message.signature_tree.verify(message.body)
    message.serial = 1
    message._marshall()  # type: ignore[no-untyped-call]


class _Nobody:
    """Where signals go."""

    def emit(self, *_: Any) -> None:
        """Nowhere."""

    def changed(self, *_: Any) -> None:
        """Nowhere."""


async def _no_worker(*_: Any, **__: Any) -> Any:
    raise WorkerUnavailable("the worker does not answer")


@functools.cache
def _dispatch() -> Dispatch:
    """guardiand's own, without a worker: made when it is first called, not where this is only imported."""
    for module in (bus, bus_inspect):
        setattr(module.Conversation, "begin", _no_worker)  # noqa: B010
    root = BusObject(
        promised()[NAME],
        bus.Guardian(Jobs(_Nobody(), lambda: None)).methods,
        lambda: {"Version": "1", "FormatVersion": 1},
    )
    job = Job(1, "checkpoint")
    objects = {ROOT: root, job.path: BusObject(promised()[JOB], {}, job.values)}
    return Dispatch(objects.get, lambda: iter(objects))


_SIGNATURES = tuple(
    dict.fromkeys(
        method.takes
        for face in (*promised().values(), *standard().values())
        for method in face.methods.values()
    )
)


def _value(kind: Any, value: Any) -> Any:
    """A value of JSON as one of a type of D-Bus; texts "TYPE:VALUE" become variants."""
    match kind.token:
        case "v":
            signature, _, rest = str(value).partition(":")
            signature = signature if signature in ("b", "s", "d", "as", "u", "x", "v") else "s"
            inner: Any = (
                rest == "true" if signature == "b" else float(len(rest)) if signature == "d" else rest
            )
            if signature in ("u", "x"):
                inner = len(rest)
            if signature == "as":
                inner = rest.split(",")
            return Variant(signature, Variant("s", rest) if signature == "v" else inner)
        case "a" if kind.children[0].token == "{":
            items = value.items() if isinstance(value, dict) else ()
            return {str(key): _value(kind.children[0].children[1], item) for key, item in items}
        case "a":
            return [
                _value(kind.children[0], item) for item in (value if isinstance(value, list) else [value])
            ]
        case "h" | "u":
            return value if isinstance(value, int) and 0 <= value < 1 << 32 else 0
    return value if isinstance(value, str) else json.dumps(value)


def _bus_call(data: bytes) -> str:
    """A call as the bus delivers it: well-typed, whatever its values are."""
    value = loaded(data)
    if not isinstance(value, list) or len(value) < 5:
        raise Rejected("no call")
    path, interface, member, number, body = value[:5]
    signature = _SIGNATURES[number % len(_SIGNATURES) if isinstance(number, int) else 0]
    types = SignatureTree(signature).types
    given = body if isinstance(body, list) else [body]
    try:
        arguments = [_value(kind, item) for kind, item in zip(types, given, strict=True)]
        call = Message(
            path=path,
            interface=interface or "",
            member=member,
            signature=signature,
            body=arguments,
            unix_fds=[_FILE]
            * (value[5] % 3 if len(value) > 5 and isinstance(value[5], int) else signature.count("h")),
            sender=":1.7",
            serial=9,
        )
    except Exception as error:
        raise Rejected("not carried") from error
    reply = _ran(_dispatch().answer(call))
    assert "guardian has failed" not in str(reply.body), reply.body
    if reply.error_name:
        _verified("s", reply.body[0])
        raise Rejected(reply.error_name.rpartition(".")[2])
    return f"{member}"


def _ran(answer: Coroutine[Any, Any, Message]) -> Message:
    """The reply; nothing here waits for anything."""
    try:
        answer.send(None)
    except StopIteration as end:
        reply: Message = end.value
        return reply
    raise AssertionError("it waits")


def _call(member: str, takes: str, *body: Any, interface: str = NAME, path: str = ROOT) -> bytes:
    return coded([path, interface, member, _SIGNATURES.index(takes), list(body)])


_PROPERTIES = "org.freedesktop.DBus.Properties"
_ERRAND = {"host": "", "options": {"with-image": True, "volumes": "all", "encrypt-to": "age1x"}}
_MIGRATE = {"host": "root@host2", "options": {"limit": 5.5, "compose": "p", "name": "web2", "check": False}}
_MOVE = {"id": "a" * 32, "host": "h", "limit": 9, "addresses": ["10.0.0.1"]}
_RESULT = {
    "container_id": "a" * 64,
    "name": "web",
    "outcome": "resumed",
    "reason": "",
    "seconds": 1.5,
    "checkpoint": "c",
}
_LISTED = {
    "id": "a" * 64,
    "name": "web",
    "state": "running",
    "savable": True,
    "reasons": [],
    "problems": ["x"],
    "depends_on": ["db"],
    "checkpoint": None,
    "last": _RESULT,
}
_WORDS = (
    *JSON_WORDS,
    b'"export"',
    b'"import"',
    b'"migrate"',
    b'"depart"',
    b'"-oProxyCommand=x"',
    b'"options"',
    b"\n",
)
TARGETS = (
    Target(
        "worker-requests",
        _request,
        (
            b"\0" + worker_client.request(Call.CHECKPOINT, ("web", "db")),
            b"\0" + worker_client.request(Call.SNAPSHOT, ("web",), note="why"),
            b"\0" + worker_client.request(Call.RELEASE, (), start=True, force=True),
            b"\1" + worker_client.request(Call.EXPORT, ("web@2",), errand=_ERRAND),
            b"\1"
            + worker_client.request(
                Call.IMPORT, (), errand={"host": "", "options": {"name": "x2", "resume": True}}
            ),
            b"\0" + worker_client.request(Call.MIGRATE, ("web",), errand=_MIGRATE),
            b'\0{"call":"depart","containers":["web"],"move":' + coded(_MOVE) + b"}\n",
            b'\0{"call":"checkpoint","leave_running":true,"plain":true}\n',
            b"\0" + DEEP,
        ),
        _WORDS,
    ),
    Target("worker-words", _heard, (b'{"go":true}\n', b"{}\n[]", DEEP), JSON_WORDS),
    Target(
        "worker-answers",
        _answer,
        (
            b'{"accepted":true}',
            b'{"say":"x"}',
            coded({"done": 0, "results": [_RESULT], "error": None}),
            coded({"done": 4, "results": [], "error": {"name": "Busy", "text": "t"}}),
            DEEP,
        ),
        JSON_WORDS,
        tree=True,
    ),
    Target("bus-lists", _listed, (coded([_LISTED]),), JSON_WORDS, tree=True),
    Target(
        "bus-calls",
        _bus_call,
        (
            _call("Checkpoint", "asa{sv}", ["web"], {"leave-running": "b:true"}),
            _call("Snapshot", "asa{sv}", ["web"], {"note": "s:x"}),
            _call("Restore", "asa{sv}", [], {}),
            _call("Release", "asa{sv}", ["web"], {"discard": "b:true"}),
            _call("Inspect", "sa{sv}", "web@1", {}),
            _call("Export", "sha{sv}", "web", 0, {"compress": "s:zstd"}),
            _call("Import", "ha{sv}", 0, {"name": "s:web2"}),
            _call("Migrate", "assa{sv}", ["web"], "root@host2", {"limit": "d:xxx"}),
            _call("List", "a{sv}", {}),
            _call("Plan", "asa{sv}", [], {}),
            _call("Get", "ss", NAME, "Version", interface=_PROPERTIES),
            _call("GetAll", "s", JOB, interface=_PROPERTIES, path=f"{ROOT}/job/1"),
            _call("Set", "ssv", NAME, "Version", "s:1", interface=_PROPERTIES),
            _call("Introspect", "", interface="", path="/org"),
        ),
        (
            *JSON_WORDS,
            *(f'"{name}"'.encode() for name in promised()[NAME].methods),
            b'"b:true"',
            b'"v:x"',
            b'"GetAll"',
        ),
        tree=True,
    ),
)
