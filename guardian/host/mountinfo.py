"""The mounts that a process sees, as /proc/PID/mountinfo lists them (proc(5))."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Mounted:
    """One mount. `device` is MAJOR:MINOR, `ties` its optional fields (shared:N, master:N), `options` of its kind."""

    device: str
    place: str
    ties: tuple[str, ...]
    kind: str
    options: str


def of(pid: int) -> list[Mounted]:
    """What a process sees, in the order of mounting; raises OSError. Bytes that are no text are escaped surrogates."""
    return list(parse(Path(f"/proc/{pid}/mountinfo").read_bytes().decode(errors="surrogateescape")))


def parse(text: str) -> Iterator[Mounted]:
    """The mounts in the text of mountinfo; lines that are none are left out.

    Lines and fields end where the kernel ends them: a mountpoint may hold any other blank that Unicode has.
    """
    for line in text.split("\n"):
        head, _, tail = line.partition(" - ")
        fields, words = head.split(" "), tail.split(" ", 2)
        if len(fields) > 5 and len(words) > 2:
            ties = tuple(field for field in fields[6:] if field)
            yield Mounted(fields[2], _plain(fields[4]), ties, words[0], _plain(words[2]))


def _plain(text: str) -> str:
    """Without the kernel's escapes: blanks, line ends, backslashes and number signs as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
