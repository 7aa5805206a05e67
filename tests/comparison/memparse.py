"""The fields of `checkpointctl memparse` (cmd/memparse.go)."""

from __future__ import annotations

from collections.abc import Iterator

from tests.comparison.checkpointctl import in_units
from tests.comparison.told import Facts, Field, per_process

_MEMPARSE = "checkpointctl memparse"
_LIMITS = (
    "it finds no match over two stretches of pages and none in shared memory, and takes what is no printable ASCII for"
    " a question mark"
)


def _in_images(process: Facts) -> str:
    """What of a process's own memory is in the images."""
    own = (item for item in process["memory"] if item["kind"] not in ("shared", "memfd", "sysv"))
    return in_units(sum(item["in_image"] for item in own), "iB")


def _shared(process: Facts) -> str:
    shared = (item for item in process["memory"] if item["protection"].endswith("s"))
    return in_units(sum(item["end"] - item["start"] for item in shared), "iB")


def _fields() -> Iterator[Field]:
    yield Field(
        _MEMPARSE,
        "PID",
        "processes[].pid",
        lambda told: sorted(told.sizes),
        lambda told: sorted(process["pid"] for process in told.processes()),
    )
    yield Field(
        _MEMPARSE,
        "Process name",
        "processes[].name",
        lambda told: {pid: row[0] for pid, row in told.sizes.items()},
        per_process(lambda process: process["name"]),
    )
    yield Field(
        _MEMPARSE,
        "Memory size",
        "processes[].memory[].in_image, added up",
        lambda told: {pid: row[1] for pid, row in told.sizes.items()},
        per_process(_in_images),
        remark="without anonymous shared memory, which is in images of its own",
    )
    yield Field(
        _MEMPARSE,
        "Shared memory size",
        "processes[].memory[] whose protection ends in s, added up",
        lambda told: {pid: row[2] for pid, row in told.sizes.items()},
        per_process(_shared),
    )
    yield Field(
        f"{_MEMPARSE} --search",
        "Address",
        "guardianctl memory search",
        lambda told: sorted(told.found),
        lambda told: sorted(told.hits),
        remark=_LIMITS,
    )
    yield Field(
        f"{_MEMPARSE} --pid",
        "Address, Hexadecimal, ASCII",
        "guardianctl memory read",
        lambda told: {address: data for address, data in told.dump.items() if address in told.around},
        lambda told: dict(told.around),
    )


FIELDS: tuple[Field, ...] = tuple(_fields())
