"""All fields, and the page that shows them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping

from tests.comparison import (
    checkpointctl,
    crit_decoded,
    crit_explored,
    crit_files,
    crit_memory,
    crit_rest,
    crit_sockets,
    memparse,
)
from tests.comparison.told import Field

FIELDS: tuple[Field, ...] = (
    *checkpointctl.FIELDS,
    *memparse.FIELDS,
    *crit_explored.FIELDS,
    *crit_decoded.FIELDS,
    *crit_memory.FIELDS,
    *crit_files.FIELDS,
    *crit_sockets.FIELDS,
    *crit_rest.FIELDS,
)
_HEAD = """\
<!-- Made from tests/comparison by docs/generate.py: do not edit. -->

# Beside checkpointctl and crit

Every field that checkpointctl 1.3 shows of an archive, and crit 4.2 of the images that are about processes, files and
memory, beside where guardianctl shows it. Without another command it is a key of `guardianctl inspect --json`;
the sections of `guardianctl inspect` show most of them as text. `tests/host/test_comparison.py` takes a snapshot of a
planted program and compares the values line by line, and fails where one of the tools prints a field that is not here.

checkpointctl 1.3 does not know how CRIU 4.2 counts pages: of its images it shows no arguments, no environment and no
memory. For the comparison the pagemaps in the archive are written as CRIU 4.1 wrote them.

Nowhere else: what lies unread in pipes and sockets, the system call a thread is in, search over seams, shared pages and
parents, core files, a container that runs.
"""


def find(of: str, name: str) -> Field | None:
    """The line of the table that is about a field; a name in it may be a pattern, the closest one counts."""
    own = [field for field in FIELDS if field.of == of]
    exact = next((field for field in own if field.name == name), None)
    return exact or next((field for field in own if fnmatch.fnmatchcase(name, field.name)), None)


def tables() -> Mapping[str, list[Field]]:
    """The fields by the command that shows them, in order."""
    found: dict[str, list[Field]] = {}
    for field in FIELDS:
        found.setdefault(field.of, []).append(field)
    return found


def page() -> str:
    """docs/comparison.md."""
    return _HEAD + "".join(_table(of, fields) for of, fields in tables().items())


def _table(of: str, fields: list[Field]) -> str:
    return f"\n## `{of}`\n\n| field | guardianctl | |\n|---|---|---|\n" + "".join(_rows(fields))


def _rows(fields: list[Field]) -> Iterator[str]:
    for field in fields:
        place = f"`{field.place}`" if field.place else "not shown"
        remark = field.remark or (f"shown by `{field.shown_by}`" if field.shown_by else "")
        yield f"| `{field.name}` | {place} | {remark} |\n"
