"""What goes over the bus: options as they come, results and lists as they go."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dbus_next.signature import Variant

from guardian.faces.bus_interface import NAME
from guardian.model.errors import BadInput
from guardian.model.wording import listed, quoted

_ERROR_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

_RESULT = {
    "container": ("container_id", "s"),
    "name": ("name", "s"),
    "outcome": ("outcome", "s"),
    "reason": ("reason", "s"),
    "seconds": ("seconds", "d"),
    "checkpoint": ("checkpoint", "s"),
}
"""The keys of a result: the worker's key and the type."""

_CONTAINER = {
    "id": ("id", "s"),
    "name": ("name", "s"),
    "state": ("state", "s"),
    "savable": ("savable", "b"),
    "reasons": ("reasons", "as"),
    "problems": ("problems", "as"),
    "depends-on": ("depends_on", "as"),
    "checkpoint": ("checkpoint", "s"),
    "last": ("last", "a{sv}"),
}
"""The same for a container in the list."""


_TYPES = {"b": "true or false", "s": "a text", "d": "a number"}


def error_name(name: str) -> str:
    """The name of an error on the bus."""
    return f"{NAME}.Error.{name if _ERROR_NAME.fullmatch(name) else 'Failed'}"


def options(method: str, given: Mapping[str, Variant], allowed: Mapping[str, str]) -> dict[str, Any]:
    """The options that are given, of the types that are allowed; raises BadInput, which names those."""
    for key, value in given.items():
        if key not in allowed:
            there_are = listed(f"{name} ({type_})" for name, type_ in allowed.items()) or "none"
            raise BadInput(f"{method} has no option {quoted(key)}", f"it takes {there_are}")
        if value.signature != allowed[key]:
            raise BadInput(
                f"{method}'s option {key} is of type {quoted(value.signature)}",
                f"it must be '{allowed[key]}' ({_TYPES[allowed[key]]})",
            )
    return {key: value.value for key, value in given.items()}


def flags(method: str, given: Mapping[str, Variant], *allowed: str) -> dict[str, bool]:
    """The options of a method, all of which are yes or no; raises BadInput, which names what is allowed."""
    found = options(method, given, dict.fromkeys(allowed, "b"))
    return {key: bool(found.get(key, False)) for key in allowed}


def note(method: str, given: Mapping[str, Variant]) -> str:
    """The one option of a method that takes a note; raises BadInput, which names what is allowed."""
    return str(options(method, given, {"note": "s"}).get("note", ""))


def results(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Variant]]:
    """The worker's results as aa{sv}; raises KeyError, TypeError and ValueError where they are none."""
    return [_dictionary(item, _RESULT) for item in found]


def containers(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Variant]]:
    """The worker's list as aa{sv}; raises KeyError, TypeError and ValueError where it is none."""
    return [_dictionary(item, _CONTAINER) for item in found]


def _dictionary(item: Mapping[str, Any], keys: Mapping[str, tuple[str, str]]) -> dict[str, Variant]:
    return {key: Variant(type_, _value(item[source], type_)) for key, (source, type_) in keys.items()}


def _value(value: Any, type_: str) -> Any:
    """A value of the worker's as one of a type. The bus knows no null: there it is the type's empty value."""
    match type_:
        case "s":
            return "" if value is None else text(value)
        case "as":
            return [text(item) for item in value or ()]
        case "d":
            return _number(value)
        case "a{sv}":
            return {} if value is None else _dictionary(value, _RESULT)
    return value


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("a number is too large") from error


def text(value: object) -> str:
    """As a string that the bus carries: it cuts off whoever sends half a surrogate pair or a NUL."""
    return str(value).replace("\0", "?").encode(errors="replace").decode()
