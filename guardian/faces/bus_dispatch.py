"""Takes calls from the bus to the objects that answer them. Every method knows its caller."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dbus_next.constants import ErrorType
from dbus_next.message import Message
from dbus_next.signature import SignatureTree, Variant

from guardian.faces.bus_interface import PEER, Interface, introspection, standard
from guardian.faces.bus_values import error_name, text
from guardian.model.errors import GuardianError
from guardian.model.wording import quoted

log = logging.getLogger("guardian.bus")


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who calls. `sender` is the unique name that the bus gave it: nobody can make it up.

    Only root gets here (the bus policy); who else may do what will be decided from this.
    """

    sender: str


Method = Callable[..., Awaitable[Any]]
"""Takes the caller and the arguments; returns the one value that the interface says, raises GuardianError."""


@dataclasses.dataclass(frozen=True)
class BusObject:
    """An object: its interface, and what stands behind it."""

    interface: Interface
    methods: Mapping[str, Method]
    values: Callable[[], Mapping[str, Any]]
    """Gives the values of all its properties."""


Find = Callable[[str], BusObject | None]
"""The object at a path."""

Paths = Callable[[], Iterator[str]]
"""The paths of all objects."""


class CallError(Exception):
    """A call that makes no sense here; has the name of a standard error."""

    def __init__(self, kind: ErrorType, text: str) -> None:
        self.name = str(kind.value)
        super().__init__(text)


class Dispatch:
    """Answers calls."""

    def __init__(self, find: Find, paths: Paths) -> None:
        self._find = find
        self._paths = paths

    async def answer(self, call: Message) -> Message:
        """The reply to a call: what its method returned, or an error."""
        try:
            signature, value = await self._call(call)
            # A descriptor travels beside the body, which has its place.
            descriptors = [value] if signature == "h" else []
            body = [0] if descriptors else [value] if signature else []
            reply = Message.new_method_return(call, signature, body, descriptors)
            reply.signature_tree.verify(reply.body)
        except CallError as error:
            return Message.new_error(call, error.name, str(error))
        except GuardianError as error:
            return Message.new_error(call, error_name(error.name), text(error))
        except Exception as error:  # the caller must get an answer, whatever it is
            log.exception("%s", call.member)
            return Message.new_error(call, error_name("Failed"), text(f"guardian has failed: {error!r}"))
        return reply

    async def _call(self, call: Message) -> tuple[str, Any]:
        """What the method called returns, and its signature."""
        found = self._find(call.path)
        if found is None and call.interface != PEER and not any(self._children(call.path)):
            raise CallError(
                ErrorType.UNKNOWN_OBJECT,
                f"there is no object {call.path}; a job goes 60 seconds after its end",
            )
        interface = self._interface(call, found)
        method = interface.methods.get(call.member)
        if method is None:
            raise CallError(ErrorType.UNKNOWN_METHOD, f"{interface.name} has no method {call.member}")
        if call.signature != method.takes:
            raise CallError(
                ErrorType.INVALID_ARGS,
                f"{call.member} takes arguments of type '{method.takes}', not '{call.signature}'",
            )
        if found is not None and interface is found.interface:
            caller = Caller(call.sender)
            return method.gives, await found.methods[call.member](caller, *_arguments(call, method.takes))
        return method.gives, self._standard(call, found)

    def _interface(self, call: Message, found: BusObject | None) -> Interface:
        """The interface that is meant; a call need not name it."""
        own = [] if found is None else [found.interface]
        there_are = [*own, *standard().values()]
        for interface in there_are:
            if call.interface == interface.name or (not call.interface and call.member in interface.methods):
                return interface
        if not call.interface:
            raise CallError(ErrorType.UNKNOWN_METHOD, f"{call.path} has no method {call.member}")
        raise CallError(ErrorType.UNKNOWN_INTERFACE, f"{call.path} has no interface {call.interface}")

    def _children(self, path: str) -> Iterator[str]:
        """The names of what lies below a path."""
        above = "/" if path == "/" else f"{path}/"
        return (each[len(above) :].partition("/")[0] for each in self._paths() if each.startswith(above))

    def _standard(self, call: Message, found: BusObject | None) -> Any:
        """What the standard interfaces' methods return."""
        match call.member:
            case "Introspect":
                own = [] if found is None else [found.interface]
                return introspection(own, set(self._children(call.path)))
            case "GetMachineId":
                return Path("/etc/machine-id").read_text(encoding="ascii").strip()
            case "Get" | "GetAll" | "Set":
                return _properties(call, found)
        return None


def _arguments(call: Message, takes: str) -> list[Any]:
    """The arguments, descriptors in place of their numbers among those that came along; these are closed elsewhere."""
    types = [each.signature for each in SignatureTree(takes).types]
    if len(call.unix_fds) != types.count("h"):
        raise CallError(
            ErrorType.INVALID_ARGS,
            f"{call.member} takes {types.count('h')} file descriptors, not {len(call.unix_fds)}",
        )
    try:
        return [
            call.unix_fds[value] if type_ == "h" else value
            for type_, value in zip(types, call.body, strict=True)
        ]
    except IndexError as error:
        raise CallError(
            ErrorType.INVALID_ARGS, f"{call.member} names a descriptor that is not there"
        ) from error


def _properties(call: Message, found: BusObject | None) -> Any:
    """What Get, GetAll and Set return."""
    wanted = call.body[0]
    if found is None or wanted not in ("", found.interface.name):
        if wanted in standard() and call.member == "GetAll":
            return {}
        raise CallError(ErrorType.UNKNOWN_INTERFACE, f"{call.path} has no properties of {quoted(wanted)}")
    types = found.interface.properties
    if call.member == "GetAll":
        return as_variants(found.interface, found.values())
    name = call.body[1]
    if name not in types:
        raise CallError(ErrorType.UNKNOWN_PROPERTY, f"{found.interface.name} has no property {quoted(name)}")
    if call.member == "Set":
        raise CallError(ErrorType.PROPERTY_READ_ONLY, f"{name} can only be read")
    return Variant(types[name].type, found.values()[name])


def as_variants(interface: Interface, values: Mapping[str, Any]) -> dict[str, Variant]:
    """Values of properties as a{sv}."""
    return {name: Variant(interface.properties[name].type, value) for name, value in values.items()}


def properties_changed(
    interface: Interface, values: Mapping[str, Any], names: list[str]
) -> tuple[str, dict[str, Variant], list[str]]:
    """What PropertiesChanged carries: the new values of what emits them, the names of what is only invalidated."""
    emits = {name: interface.properties[name].emits for name in names}
    changed = as_variants(interface, {name: values[name] for name in names if emits[name] == "true"})
    return interface.name, changed, [name for name in names if emits[name] == "invalidates"]
