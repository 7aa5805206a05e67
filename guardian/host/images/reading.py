"""Reading memory piece by piece: a range of addresses, a mapping, a heap; never more than a piece at a time."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from guardian.host.images.folder import BadImage
from guardian.host.images.memory import Mapping, Memory, Run, Where
from guardian.host.images.stretches import Pages, Stretch
from guardian.model.errors import BadInput

PIECE = 256 << 10
"""Bytes that are read at a time."""
_MOST_ADDRESS = 1 << 64
_NUMBER = r"(0x[0-9a-f]{1,16}|[0-9]{1,20})"
_ADDRESS = r"(?:0x)?([0-9a-f]{1,16})"
_LENGTH = re.compile(f"{_ADDRESS}\\+{_NUMBER}", re.IGNORECASE)
_SPAN = re.compile(f"{_ADDRESS}-{_ADDRESS}", re.IGNORECASE)
_ONE = re.compile(_ADDRESS, re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Piece:
    """Memory from an address on. `data` is None where it is not known, and `why` says why not."""

    address: int
    length: int
    data: bytes | None
    why: str = ""


def ranges(memory: Memory, written: str) -> list[tuple[int, int]]:
    """What is asked for, as (begin, end).

    ADDRESS+LENGTH, ADDRESS-ADDRESS, the address or the name of a mapping. Addresses are hexadecimal, with or without
    0x; a length is decimal, or hexadecimal with 0x. Raises BadInput.
    """
    if match := _LENGTH.fullmatch(written):
        begin = int(match[1], 16)
        return [_range(begin, begin + int(match[2], 0 if match[2][:2].lower() == "0x" else 10))]
    if match := _SPAN.fullmatch(written):
        return [_range(int(match[1], 16), int(match[2], 16))]
    named = [item for item in memory.mappings if memory.name(item) in (written, f"[{written}]")]
    if named:
        return [(item.start, item.end) for item in named]
    if match := _ONE.fullmatch(written):
        address = int(match[1], 16)
        for item in memory.mappings:
            if item.start <= address < item.end:
                return [(item.start, item.end)]
    raise BadInput(
        f"process {memory.pid} has no such memory",
        "it is no range, and no address or name of a mapping",
        hint="guardianctl memory map lists what there is",
    )


def _range(begin: int, end: int) -> tuple[int, int]:
    if not begin < end <= _MOST_ADDRESS:
        raise BadInput("the range does not parse", "its end is not behind its beginning")
    return begin, end


def read(memory: Memory, pages: Pages, begin: int, end: int) -> Iterator[Piece]:
    """The memory between two addresses, all of which must be mapped; absent memory that is zero comes as zeros.

    Raises BadImage.
    """
    position = begin
    for mapping in _covering(memory, begin, end):
        for run in memory.runs(mapping):
            low, high = max(begin, run.address), min(end, run.end)
            if low < high:
                yield from _pieces(memory, mapping, run.cut(low, high), pages)
                position = high
    assert position == end


def _covering(memory: Memory, begin: int, end: int) -> Sequence[Mapping]:
    found = [item for item in memory.mappings if item.start < end and begin < item.end]
    position = begin
    for item in found:
        if item.start > position:
            break
        position = item.end
    if position < end:
        raise BadImage(f"{position:#x} of process {memory.pid} is not mapped")
    return found


def _pieces(memory: Memory, mapping: Mapping, run: Run, pages: Pages) -> Iterator[Piece]:
    if run.where is Where.LAZY:
        yield Piece(run.address, run.length, None, "left on the host it was dumped on")
    elif run.where is Where.ABSENT and not mapping.zero_where_absent:
        where = "the kernel's" if not mapping.file_id else f"as in {memory.name(mapping)}"
        yield Piece(run.address, run.length, None, where)
    else:
        stretch = Stretch([run])
        for address in range(run.address, run.end, PIECE):
            end = min(run.end, address + PIECE)
            yield Piece(address, end - address, stretch.read(pages, address, end))
