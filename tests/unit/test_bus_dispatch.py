"""Calls from the bus find their method, or an error that says why not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from dbus_next.constants import MessageType
from dbus_next.message import Message
from dbus_next.signature import Variant

from guardian.faces.bus_dispatch import BusObject, Caller, Dispatch, Method, properties_changed
from guardian.faces.bus_interface import JOB, PEER, PROPERTIES, parse, promised
from guardian.model.errors import Busy

NAME = "org.example.One"
ROOT = "/org/example"
JOB_PATH = f"{ROOT}/job/1"
OTHER = "org.freedesktop.DBus.Error"
XML = f"""\
<node>
  <interface name="{NAME}">
    <method name="Add">
      <arg type="i" direction="in"/><arg type="i" direction="in"/><arg type="i" direction="out"/>
    </method>
    <method name="Who"><arg type="s" direction="out"/></method>
    <method name="Refuse"/>
    <method name="Break"/>
    <method name="Lie"><arg type="i" direction="out"/></method>
    <property name="Size" type="u" access="read"/>
  </interface>
  <interface name="{NAME}.Job"><property name="Id" type="u" access="read"/></interface>
</node>
"""


class Example:
    """The methods of the example."""

    async def add(self, _caller: Caller, one: int, two: int) -> int:
        return one + two

    async def who(self, caller: Caller) -> str:
        return caller.sender

    async def refuse(self, _caller: Caller) -> None:
        raise Busy("not now\0", "by \udc80")

    async def breaks(self, _caller: Caller) -> None:
        raise ZeroDivisionError("inside")

    async def lie(self, _caller: Caller) -> str:
        return "no number"


def objects() -> dict[str, BusObject]:
    example, interfaces = Example(), parse(XML)
    methods: dict[str, Method] = {
        "Add": example.add,
        "Who": example.who,
        "Refuse": example.refuse,
        "Break": example.breaks,
        "Lie": example.lie,
    }
    return {
        ROOT: BusObject(interfaces[NAME], methods, lambda: {"Size": 3}),
        JOB_PATH: BusObject(interfaces[f"{NAME}.Job"], {}, lambda: {"Id": 1}),
    }


def call(member: str, signature: str = "", *body: Any, path: str = ROOT, interface: str = NAME) -> Message:
    there = objects()

    def paths() -> Iterator[str]:
        yield from there

    message = Message(
        path=path,
        interface=interface or NAME,
        member=member,
        signature=signature,
        body=list(body),
        sender=":1.7",
        serial=9,
    )
    if not interface:  # a call need not name it
        message.interface = ""
    reply = asyncio.run(Dispatch(there.get, paths).answer(message))
    assert (reply.reply_serial, reply.destination) == (9, ":1.7")
    reply.serial = 1
    assert reply._marshall()  # type: ignore[no-untyped-call]
    return reply


def returned(reply: Message) -> Any:
    assert reply.message_type is MessageType.METHOD_RETURN, reply.body
    return reply.body[0] if reply.body else None


def test_a_method_gets_its_arguments_and_its_caller() -> None:
    assert returned(call("Add", "ii", 1, 2)) == 3
    assert returned(call("Who")) == ":1.7"
    assert returned(call("Who", interface="")) == ":1.7"


@pytest.mark.parametrize(
    ("message", "name", "said"),
    [
        (("Add", "i", 1), f"{OTHER}.InvalidArgs", "takes arguments of type 'ii', not 'i'"),
        (("Who", "s", "x"), f"{OTHER}.InvalidArgs", "type '', not 's'"),
        (("Dance",), f"{OTHER}.UnknownMethod", f"{NAME} has no method Dance"),
        (("Refuse",), "org.dockerguardian.Guardian1.Error.Busy", "not now?: by ?"),
        (("Break",), "org.dockerguardian.Guardian1.Error.Failed", "ZeroDivisionError('inside')"),
        (("Lie",), "org.dockerguardian.Guardian1.Error.Failed", "guardian has failed"),
    ],
)
def test_errors_have_names(message: tuple[Any, ...], name: str, said: str) -> None:
    reply = call(*message)
    assert (reply.message_type, reply.error_name) == (MessageType.ERROR, name)
    assert said in reply.body[0]
    assert "Traceback" not in reply.body[0]


@pytest.mark.parametrize(
    ("path", "interface", "member", "name"),
    [
        ("/org/nowhere", NAME, "Who", "UnknownObject"),
        (f"{ROOT}/job/2", f"{NAME}.Job", "Who", "UnknownObject"),
        (ROOT, "org.example.Two", "Who", "UnknownInterface"),
        ("/org", NAME, "Who", "UnknownInterface"),
        (JOB_PATH, NAME, "Who", "UnknownInterface"),
        (JOB_PATH, "", "Who", "UnknownMethod"),
    ],
)
def test_what_is_not_there(path: str, interface: str, member: str, name: str) -> None:
    assert call(member, path=path, interface=interface).error_name == f"{OTHER}.{name}"


@pytest.mark.parametrize(
    ("path", "interfaces", "children"),
    [("/", 3, "org"), ("/org", 3, "example"), (ROOT, 4, "job"), (f"{ROOT}/job", 3, "1"), (JOB_PATH, 4, None)],
)
def test_objects_and_what_leads_to_them_are_shown(path: str, interfaces: int, children: str | None) -> None:
    text = returned(call("Introspect", path=path, interface=""))
    assert len(parse(text)) == interfaces
    assert (f'<node name="{children}" />' in text) == (children is not None)


def properties(member: str, *body: Any, path: str = ROOT) -> Message:
    signature = {"Get": "ss", "Set": "ssv", "GetAll": "s"}[member]
    return call(member, signature, *body, path=path, interface=PROPERTIES)


def test_properties() -> None:
    assert returned(properties("Get", NAME, "Size")) == Variant("u", 3)
    assert returned(properties("GetAll", NAME)) == {"Size": Variant("u", 3)}
    assert returned(properties("GetAll", "", path=JOB_PATH)) == {"Id": Variant("u", 1)}
    assert returned(properties("GetAll", PEER)) == {}


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (("Get", NAME, "Weight"), "UnknownProperty"),
        (("Get", "org.example.Two", "Size"), "UnknownInterface"),
        (("Set", NAME, "Size", Variant("u", 4)), "PropertyReadOnly"),
        (("Set", NAME, "Weight", Variant("u", 4)), "UnknownProperty"),
    ],
)
def test_properties_that_are_not_there_or_cannot_be_set(message: tuple[Any, ...], name: str) -> None:
    assert properties(*message).error_name == f"{OTHER}.{name}"


def test_ping_is_answered_everywhere() -> None:
    assert returned(call("Ping", path="/org/nowhere", interface=PEER)) is None


def test_what_changes_is_told_as_it_is_promised() -> None:
    values = {"LastLine": "half", "Progress": ["half"], "Id": 1}
    told = properties_changed(promised()[JOB], values, ["LastLine", "Progress", "Id"])
    assert told == (JOB, {"LastLine": Variant("s", "half")}, ["Progress"])
