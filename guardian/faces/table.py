"""Tables to a terminal, plain lines to a pipe; nothing that an image or a label says reaches a terminal unseen."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from guardian.model.wording import printable

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with a head to a terminal, tab-separated lines to a pipe. Control characters are never printed."""
    cleaned = [tuple(printable(cell) for cell in row) for row in rows]
    if not sys.stdout.isatty():
        for row in cleaned:
            print("\t".join(row))
        return
    widths = [max(len(row[column]) for row in (tuple(head), *cleaned)) for column in range(len(head))]
    for row in (tuple(head), *cleaned):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def size(count: int) -> str:
    """Bytes for people: 12.3 MiB."""
    amount, unit = float(count), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{count} B" if not unit else f"{amount:.1f} {_UNITS[unit]}"
