"""Bytes of an image as text: nothing is lost, and nothing that is no UTF-8 gets through."""

from __future__ import annotations


def text(data: bytes | str) -> str:
    """As text, what is no UTF-8 as backslash escapes."""
    if isinstance(data, str):
        return data.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")


def strings(data: bytes) -> tuple[str, ...]:
    """The NUL-terminated strings in a block of memory, as arguments and environments are kept."""
    found = data.split(b"\0")
    return tuple(text(item) for item in (found[:-1] if data.endswith(b"\0") else found) if item or data)


def path(name: str) -> str:
    """A path as the container has it; CRIU writes that of a root without its first slash."""
    shown = text(name)
    return shown if shown.startswith("/") else f"/{shown.removeprefix('.').removeprefix('/')}"
