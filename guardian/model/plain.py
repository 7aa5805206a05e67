"""Plain data, as JSON has it, taken back as the dataclass it was made of; what is of another type is refused."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import functools
import math
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from guardian.model.wording import quoted

Made = TypeVar("Made")
_LARGEST = 1 << 63


def made(of: type[Made], data: object, *, more: bool = False) -> Made:
    """The dataclass `of` with these fields, each of the type it is annotated with; raises ValueError.

    Fields that have a default may be missing; with `more`, keys that are no field are left out, at every depth.
    Annotations may be text, numbers, enumerations by value, dataclasses, `tuple[X, ...]`, `Mapping[str, X]` and `Any`.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{quoted(data)} is no table")  # noqa: TRY004
    kinds = _annotated(typing.cast(Any, of))
    unknown = sorted(str(key) for key in data.keys() - kinds.keys())
    if unknown and not more:
        raise ValueError(f"{quoted(unknown[0])} is not known")
    found = {}
    for field in dataclasses.fields(of):  # type: ignore[arg-type]
        if field.name in data:
            found[field.name] = _value(field.name, kinds[field.name], data[field.name], more=more)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{field.name} is missing")
    return of(**found)


@functools.cache
def _annotated(of: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(of)


def _value(name: str, kind: Any, value: object, *, more: bool) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(name, inner[0], item, more=more) for item in value)
    if origin is collections.abc.Mapping and isinstance(value, Mapping):
        return {_text(name, key): _value(name, inner[1], item, more=more) for key, item in value.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return made(kind, value, more=more)
    return _single(name, kind, value)


def _single(name: str, kind: Any, value: object) -> Any:
    if kind is str:
        return _text(name, value)
    if kind in (int, float) and not isinstance(value, bool):
        return _number(name, kind, value)
    if kind is Any or (kind is bool and isinstance(value, bool)):
        return value
    if isinstance(kind, enum.EnumMeta):
        for member in typing.cast(type[enum.Enum], kind):
            if member.value == value:
                return member
    raise ValueError(f"{name} is {quoted(value)}")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {quoted(value)}")  # noqa: TRY004
    value.encode()  # a lone surrogate is no text: it could not be written anywhere
    return value


def _number(name: str, kind: type, value: object) -> float:
    whole = isinstance(value, int) and abs(value) < _LARGEST
    if whole or (kind is float and isinstance(value, float) and math.isfinite(value)):
        return kind(value)  # type: ignore[no-any-return]
    raise ValueError(f"{name} is {quoted(value)}")
