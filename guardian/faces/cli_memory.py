"""guardianctl memory: search, read and list the memory in a checkpoint.

Exit status: 0 found, 1 nothing found or failed, 2 usage, 4 refused (an image that cannot be understood).
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable

from guardian.faces.command import Command
from guardian.faces.jobs import Status
from guardian.faces.subject import guarded
from guardian.host.images.folder import Folder
from guardian.host.images.reading import Piece
from guardian.host.images.search import MOST_CONTEXT, Missing, Pattern
from guardian.model.wording import printable
from guardian.work import memory
from guardian.work.memory import Finding, MappingShown, Shown

_ROW = 16
_MOST = 1000
_CONTEXT = 32


def add(command: Command) -> None:
    """Register `memory` with its verbs."""
    made = command("memory", None, "search, read and list the memory in a checkpoint")
    verbs = made.add_subparsers(required=True, metavar="VERB")

    def verb(
        name: str, run: Callable[[argparse.Namespace, Folder], int], text: str
    ) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
        if run is not _map:
            made.add_argument(
                "--reveal", action="store_true", help="show what looks like a secret; is logged"
            )
        made.add_argument(
            "subject", metavar="CONTAINER|CHECKPOINT", help="web (as it is now), web@2, an id, a folder"
        )
        made.set_defaults(run=lambda options: guarded(options, run))
        return made

    _search_options(verb("search", _search, "where a text, bytes or an expression are in memory"))
    made = verb("read", _read, "the memory of a process, as a hex dump or raw")
    made.add_argument(
        "range", metavar="RANGE", help="ADDRESS+LENGTH, ADDRESS-ADDRESS, a mapping, its name, heap"
    )
    made.add_argument("--pid", type=int, required=True, metavar="N")
    made.add_argument("--raw", action="store_true", help="the bytes as they are, to a terminal too")
    made.add_argument("--hexdump", action="store_true", help="a hex dump where the output is no terminal")
    made = verb("map", _map, "the mappings of processes, and what of them is in the images")
    made.add_argument("--pid", type=int, metavar="N", help="only of this process")
    _json(made)
    made = verb("strings", _strings, "text in memory, ASCII and UTF-16")
    made.add_argument("--pid", type=int, metavar="N", help="only of this process")
    made.add_argument(
        "--least", type=int, default=memory.LEAST_STRING, metavar="N", help="characters at least"
    )
    _json(made)


def _search_options(made: argparse.ArgumentParser) -> None:
    made.add_argument("pattern", metavar="PATTERN")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--hex", dest="how", action="store_const", const=Pattern.HEX, help="bytes as 00 ff ...")
    how.add_argument(
        "--regex", dest="how", action="store_const", const=Pattern.REGEX, help="an expression over bytes"
    )
    how.add_argument(
        "--utf16", dest="how", action="store_const", const=Pattern.UTF16, help="text as UTF-16 LE"
    )
    made.set_defaults(how=Pattern.TEXT)
    made.add_argument("--pid", type=int, metavar="N", help="only of this process")
    made.add_argument(
        "--context", type=_count(MOST_CONTEXT), default=_CONTEXT, metavar="N", help="bytes around it"
    )
    made.add_argument("--most", type=_count(1 << 62), default=_MOST, metavar="N", help="end after so many")
    _json(made)


def _json(made: argparse.ArgumentParser) -> None:
    made.add_argument("--json", action="store_true", help="machine-readable output, an object a line")


def _count(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not 0 <= value <= most:
            raise ValueError
        return value

    return number


def _search(options: argparse.Namespace, folder: Folder) -> int:
    found = memory.search(
        folder,
        options.how,
        options.pattern,
        memory.disclosure(folder, reveal=options.reveal),
        pid=options.pid,
        context=options.context,
        most=options.most,
    )
    any_found = _each(found, options.json, _hit)
    if found.more:
        print(f"guardianctl: there are more than {options.most} (--most)", file=sys.stderr)
    return Status.DONE if any_found else Status.FAILED


def _strings(options: argparse.Namespace, folder: Folder) -> int:
    found = memory.strings(
        folder, memory.disclosure(folder, reveal=options.reveal), pid=options.pid, least=options.least
    )
    any_found = _each(found, options.json, lambda item: f"{item.pid}\t{item.address:#x}\t{item.match}")
    return Status.DONE if any_found else Status.FAILED


def _each(found: Finding, as_json: bool, line: Callable[[Shown], str]) -> bool:
    """Print hits as they come, then what could not be looked through; whether there was a hit."""
    any_found = False
    for item in found.all():
        any_found = True
        print(json.dumps(item.to_json()) if as_json else line(item))
    _tell_missing(found.missing)
    return any_found


def _hit(item: Shown) -> str:
    place = f"{item.pid}\t{item.address:#x}\t{item.protection}\t{printable(item.mapping)}"
    return f"{place}\t{item.before}[{item.match}]{item.after}"


def _tell_missing(missing: Iterable[Missing]) -> None:
    sizes: dict[int, int] = {}
    for item in missing:
        sizes[item.pid] = sizes.get(item.pid, 0) + item.length
    for pid, size in sizes.items():
        print(
            f"guardianctl: {size} bytes of process {pid} are not there: left on the host of the dump",
            file=sys.stderr,
        )


def _map(options: argparse.Namespace, folder: Folder) -> int:
    any_found = False
    for item in memory.mappings(folder, pid=options.pid):
        any_found = True
        print(json.dumps(item.to_json()) if options.json else _mapping(item))
    return Status.DONE if any_found else Status.FAILED


def _mapping(item: MappingShown) -> str:
    held = f"{item.in_image >> 10}K" + (f"+{item.lazy >> 10}K lazy" if item.lazy else "")
    size = f"{item.end - item.start >> 10}K"
    start = f"{item.pid}\t{item.start:012x}-{item.end:012x}\t{item.protection}\t{item.offset:08x}"
    return f"{start}\t{size}\t{held}\t{printable(item.name)}"


def _read(options: argparse.Namespace, folder: Folder) -> int:
    raw = options.raw or not (sys.stdout.isatty() or options.hexdump)
    unknown = 0
    disclose = memory.disclosure(folder, reveal=options.reveal)
    for piece in memory.read(folder, options.pid, options.range, disclose, single=raw):
        unknown += piece.length if piece.data is None else 0
        if raw:
            _write(piece)
        else:
            _dump(piece)
    if unknown and raw:
        print(f"guardianctl: {unknown} bytes are not in the images, and zero here", file=sys.stderr)
    return Status.DONE


def _write(piece: Piece) -> None:
    """Write a piece as it is; what is not known as zeros, a hole where the output is a file."""
    out = sys.stdout.buffer
    if piece.data is not None:
        out.write(piece.data)
        return
    out.flush()
    if stat.S_ISREG(os.fstat(out.fileno()).st_mode):
        place = os.lseek(out.fileno(), piece.length, os.SEEK_CUR)
        os.ftruncate(out.fileno(), max(place, os.fstat(out.fileno()).st_size))
        return
    left = piece.length
    while left:
        left -= out.write(bytes(min(left, 1 << 16)))


def _dump(piece: Piece) -> None:
    """A hex dump; rows like the one before are an asterisk."""
    if piece.data is None:
        print(f"{piece.address:012x}  {piece.length} bytes are not in the images: {printable(piece.why)}")
        return
    before = None
    starred = False
    for offset in range(0, len(piece.data), _ROW):
        row = piece.data[offset : offset + _ROW]
        if row == before and offset + _ROW < len(piece.data):
            if not starred:
                print("*")
            starred = True
            continue
        before, starred = row, False
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        print(f"{piece.address + offset:012x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{shown}|")
