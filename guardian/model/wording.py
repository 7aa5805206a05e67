"""How values of hostile origin (labels, configuration, names) are put into sentences."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 80
_KINDS: tuple[tuple[type, str], ...] = ((dict, "a table"), (list, "an array"), (type(None), "nothing"))


def quoted(value: object) -> str:
    """`value` as it may stand in a message: on one line, no control characters, of bounded length."""
    for kind, word in _KINDS:
        if isinstance(value, kind):
            return word
    if isinstance(value, int) and value.bit_length() > _SHOWN:
        return "a very large number"
    if isinstance(value, str) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}..."
    return repr(value)


def listed(words: Iterable[str]) -> str:
    """`words` as an enumeration: "a, b or c"."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} or {items[-1]}"


def some(words: Iterable[str], *, most: int) -> str:
    """`words` as "a, b, c", or the first `most` of them and "..."."""
    items = list(words)
    return ", ".join(items if len(items) <= most else [*items[:most], "..."])


def span_of_time(seconds: float) -> str:
    """Seconds as "40 s", "12 min", "5 h" or "9 d", rounded down."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds // 1:.0f} s"


def suggestion(word: str, known: Iterable[str]) -> str:
    """The question whether a known word near to `word` was meant; empty where there is none."""
    near = difflib.get_close_matches(word[:_SHOWN], list(known), n=1)
    return f"did you mean {near[0]}" if near else ""


def printable(text: str) -> str:
    """`text` as one line without control characters: names of processes and files may hold anything."""
    return "".join(character if character.isprintable() else "?" for character in text)


def escaped(data: bytes | str, *, wide: bool = False) -> str:
    """Bytes or text as one line of printable text from which they can be told again; `wide` takes them as UTF-16 LE.

    What is no text, and what would move a terminal's cursor or change its colours, stands there as an escape.
    """
    if isinstance(data, str):
        return "".join(map(_escape, data))
    if wide:
        even = len(data) // 2 * 2
        text = data[:even].decode("utf-16-le", "surrogatepass")
        return "".join(map(_escape, text)) + "".join(f"\\x{byte:02x}" for byte in data[even:])
    return "".join(map(_escape, data.decode("utf-8", "surrogateescape")))


def _escape(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    if character == "\\":
        return "\\\\"
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
