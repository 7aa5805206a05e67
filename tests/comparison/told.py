"""What three tools say of the same checkpoint, and a field of one beside the other's."""

from __future__ import annotations

import dataclasses
import quopri
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Facts = dict[str, Any]
SOCKETS = ("INETSK", "UNIXSK", "PACKETSK", "NETLINKSK")


@dataclasses.dataclass(frozen=True)
class Told:
    """`ours` is `guardianctl inspect --json --reveal`, `mappings` `memory map --json`, `hits` and `around` what `memory
    search` and `memory read` found of the needle: addresses, and rows of 16 bytes by address.

    `show`, `described`, `tree`, `sizes`, `found`, `dump` are checkpointctl's `show` (by column), `inspect --format
    json` and as a tree, `memparse` (by process), `--search` and `--pid`, as ours; `explored` is what `crit x` prints,
    by what it was asked for, `images` what `crit decode` does, by image.
    """

    ours: Facts
    mappings: Sequence[Facts]
    hits: Sequence[int]
    around: Mapping[int, bytes]
    show: Mapping[str, str]
    described: Facts
    tree: str
    sizes: Mapping[int, tuple[str, str, str]]
    found: Sequence[int]
    dump: Mapping[int, bytes]
    explored: Mapping[str, str]
    images: Mapping[str, Sequence[Facts]]

    def processes(self) -> Sequence[Facts]:
        """Ours."""
        return list(self.ours["processes"])

    def threads(self) -> Iterator[Facts]:
        """Ours, of all processes."""
        for process in self.processes():
            yield from process["threads"]

    def image(self, name: str) -> Sequence[Facts]:
        """The entries of an image; none where it is not there."""
        return self.images.get(name, ())

    def file(self, id: int) -> Facts:
        """The part of an entry of files.img that is about its kind."""
        for entry in self.image("files.img"):
            if entry["id"] == id:
                return next(dict(value) for value in entry.values() if isinstance(value, dict))
        raise KeyError(id)

    def sockets(self) -> Iterator[tuple[int, Facts]]:
        """Our sockets with the process that has each open, in the order of the descriptor tables in the images."""
        by_key = {item["key"]: item for item in self.ours["sockets"]}
        for entry in self.image("pstree.img"):
            (ids,) = self.image(f"ids-{entry['pid']}.img")
            for each in self.image(f"fdinfo-{ids['files_id']}.img"):
                if each["type"] in SOCKETS:
                    yield entry["pid"], by_key[each["id"]]


Compared = Callable[[Told], object]
Show = Callable[[Any], object]


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of another tool's. `of` is the command that shows it, `place` where guardianctl does, empty where it does
    not, and then `remark` says why. `theirs` and `ours` are what is compared; where guardianctl shows it in another way
    `shown_by` names the test instead.
    """

    of: str
    name: str
    place: str
    theirs: Compared | None = None
    ours: Compared | None = None
    remark: str = ""
    shown_by: str = ""
    may_be_empty: bool = False
    """Whether nothing at all is a good answer; of every other field there has to be something to compare."""
    reads_pages: bool = False
    """Whether the other tool has to know how CRIU 4.2 counts pages, which crit 4.1 does not."""


def per_process(show: Show) -> Compared:
    """What is shown of each of our processes."""
    return lambda told: {process["pid"]: show(process) for process in told.processes()}


def not_shown(of: str, *names: str, why: str = "only a restore needs it") -> Iterator[Field]:
    """Fields that guardianctl leaves out."""
    for name in names:
        yield Field(of, name, "", remark=why)


def number(value: object) -> int:
    """A number as crit writes it, decimal or hexadecimal."""
    return int(str(value), 0)


def dig(entry: Any, path: str, default: Any = None) -> Any:
    """What lies at a dotted path of nested tables; the default where nothing does."""
    for part in path.split("."):
        if not isinstance(entry, dict) or part not in entry:
            return default
        entry = entry[part]
    return entry


def plain_path(name: str) -> str:
    """A path of an image as the container has it: CRIU leaves out the first slash of some and marks what is deleted."""
    shown = name.removesuffix(" (deleted)")
    return shown if shown.startswith("/") else f"/{shown.removeprefix('.').removeprefix('/')}"


def socket_name(name: str) -> str:
    """The name of a unix socket; crit writes its NULs as quoted-printable, checkpointctl as they are."""
    data = quopri.decodestring(name) if "=" in name else name.encode()
    return "@" + data[1:].decode() if data.startswith(b"\0") else data.removesuffix(b"\0").decode()


def own_name(socket: Facts) -> str:
    """The name of a unix socket of ours, empty where it has none."""
    return "" if str(socket["local"]).startswith("inode ") else str(socket["local"])


def end(shown: str) -> tuple[str, int]:
    """An address of ours as address and port; nothing is any address."""
    address, _, port = shown.rpartition(":")
    return (address.strip("[]") or "0.0.0.0", int(port or 0))


def addresses(table: str) -> list[int]:
    """The hexadecimal addresses at the beginning of a table's rows."""
    return [int(found, 16) for found in re.findall(r"(?m)^\|?\s*([0-9a-f]{16})\s", table)]


def covered(pages: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches of memory (address, bytes), those side by side as one."""
    found: list[tuple[int, int]] = []
    for begin, length in sorted(pages):
        if found and sum(found[-1]) == begin:
            first, before = found.pop()
            found.append((first, before + length))
        else:
            found.append((begin, length))
    return found
