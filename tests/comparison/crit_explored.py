"""The fields that `crit x` prints: ps, fds, mems, rss."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.comparison.checkpointctl import kind_of, peer_inode
from tests.comparison.crit_rest import our_pages
from tests.comparison.told import Facts, Field, Told, covered, own_name, plain_path, socket_name

_SPAN = re.compile(r"^\t([0-9a-f]+)-([0-9a-f]+)\s+([rwx-]{3})(?: (.*))?$")
_ENTRY = re.compile(r"^\t([0-9a-f]+) / ([0-9]+)\s+(?:([0-9a-f]+) / ([0-9]+)(?: (.*))?| ~)?")
_MORE = re.compile(r"^\t {23}\s*([0-9a-f]+) / ([0-9]+)(?: (.*))?")


def _by_process(text: str) -> dict[int, list[str]]:
    """The lines below each process's number."""
    found: dict[int, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.isdigit():
            lines = found.setdefault(int(line), [])
        else:
            lines.append(line)
    return found


def _rows(told: Told) -> list[list[str]]:
    return [line.split() for line in told.explored["ps"].splitlines()[1:]]


def _column(place: int, name: str, key: str) -> Field:
    return Field(
        "crit x ps",
        name,
        f"processes[].{key}",
        lambda told: {row[0]: row[place] for row in _rows(told)},
        lambda told: {str(process["pid"]): str(process[key]) for process in told.processes()},
    )


def _ps() -> Iterator[Field]:
    columns = (("PID", "pid"), ("PGID", "group"), ("SID", "session"), ("COMM", "name"))
    yield from (_column(place, *names) for place, names in enumerate(columns))


def _opened(told: Told) -> dict[tuple[int, str], str]:
    """What crit says of each descriptor."""
    found = {}
    for pid, lines in _by_process(told.explored["fds"]).items():
        for line in lines:
            descriptor, _, what = line.strip().partition(": ")
            found[pid, descriptor] = what
    return found


def _file_of(told: Told, file: Facts) -> str:
    kind = kind_of(file)
    if kind == "REG":
        return str(file["what"])
    if kind == "PIPE":
        return str(file["what"]).replace("pipe ", "pipe[") + "]"
    if kind == "UNIXSK":
        socket = next(item for item in told.ours["sockets"] if item["key"] == file["key"])
        return f"unix[{socket['inode']} ({peer_inode(told, socket)}){own_name(socket)}]"
    return f"{kind}.{file['key']}"


def _their_file(what: str) -> str:
    if what.startswith("unix["):
        head, _, name = what.removesuffix("]").partition(")")
        return f"{head}){socket_name(name.strip())}]"
    return plain_path(what) if what.startswith(("/", ".")) else what


def _our_files(told: Told) -> dict[tuple[int, str], str]:
    found = {}
    for process in told.processes():
        for file in process["files"]:
            found[process["pid"], str(file["descriptor"])] = _file_of(told, file)
        found[process["pid"], "cwd"] = process["working_directory"]
        found[process["pid"], "root"] = process["root"]
    return found


def _fds() -> Iterator[Field]:
    yield Field(
        "crit x fds",
        "descriptor, cwd, root",
        "processes[].files[].descriptor, working_directory, root",
        lambda told: sorted(_opened(told)),
        lambda told: sorted(_our_files(told)),
    )
    yield Field(
        "crit x fds",
        "file",
        "processes[].files[].what, sockets[].inode, peer, local",
        lambda told: {key: _their_file(what) for key, what in _opened(told).items()},
        _our_files,
    )


def _spans(told: Told) -> dict[int, list[tuple[int, int, str, str]]]:
    return {
        pid: [
            (int(match[1], 16), int(match[2], 16), match[3], match[4] or "")
            for line in lines
            if (match := _SPAN.match(line))
        ]
        for pid, lines in _by_process(told.explored["mems"]).items()
    }


def _of_spans(place: Callable[[tuple[int, int, str, str]], object]) -> Callable[[Told], object]:
    return lambda told: {pid: [place(span) for span in spans] for pid, spans in _spans(told).items()}


def _of_memory(show: Callable[[Facts], object]) -> Callable[[Told], object]:
    return lambda told: {
        process["pid"]: [show(item) for item in process["memory"]] for process in told.processes()
    }


def _file_mapped(mapping: Facts) -> str:
    """A mapped file as crit has it, empty for what is none."""
    if mapping["kind"] != "file":
        return ""
    offset = f" + {mapping['offset']:#x}" if mapping["offset"] else ""
    return f"{mapping['name']}{offset}{' (s)' if mapping['protection'].endswith('s') else ''}"


_NO_FILE = ("[", "shmem[", "ips[", "packet[", "unknown path")


def _their_mapped(shown: str) -> str:
    """A mapped file with what stands behind it; empty where it is none, or a memfd, whose path crit does not know."""
    shown = shown.removesuffix("*").strip()
    if not shown or shown.startswith(_NO_FILE):
        return ""
    path, plus, rest = shown.removesuffix(" (s)").partition(" + ")
    return f"{plain_path(path)}{plus}{rest}{' (s)' if shown.endswith(' (s)') else ''}"


def _word(shown: str) -> str:
    """What crit calls a mapping that is no file's: shmem, ips, [stack], ..."""
    word = shown.removesuffix("*").strip()
    return re.sub(r"^(shmem|ips)\[.*", r"\1", word.replace("?", "")) if word.startswith(_NO_FILE[:3]) else ""


def _named(told: Told) -> object:
    return {
        (pid, begin): word
        for pid, spans in _spans(told).items()
        for begin, _, _, shown in spans
        if (word := _word(shown))
    }


def _our_named(told: Told) -> object:
    words = {"shared": "shmem", "sysv": "ips", "stack": "[stack]", "vdso": "[vdso]", "vsyscall": "[vsyscall]"}
    return {
        (process["pid"], item["start"]): words[item["kind"]]
        for process in told.processes()
        for item in process["memory"]
        if item["kind"] in words
    }


def _mems() -> Iterator[Field]:
    yield Field(
        "crit x mems",
        "exe",
        "processes[].executable",
        lambda told: {
            pid: plain_path(lines[0].split()[-1]) for pid, lines in _by_process(told.explored["mems"]).items()
        },
        lambda told: {process["pid"]: process["executable"] for process in told.processes()},
    )
    yield Field(
        "crit x mems",
        "start-end",
        "processes[].memory[].start, end",
        _of_spans(lambda span: span[:2]),
        _of_memory(lambda item: (item["start"], item["end"])),
    )
    yield Field(
        "crit x mems",
        "protection",
        "processes[].memory[].protection",
        _of_spans(lambda span: span[2]),
        _of_memory(lambda item: item["protection"][:3]),
    )
    yield Field(
        "crit x mems",
        "file + offset (s)",
        "processes[].memory[].name, offset, protection",
        _of_spans(lambda span: _their_mapped(span[3])),
        _of_memory(_file_mapped),
    )
    yield Field(
        "crit x mems", "[stack], [vdso], shmem[], ips[]", "processes[].memory[].kind", _named, _our_named
    )


def _pages(told: Told) -> dict[int, list[tuple[int, int]]]:
    """Stretches that crit says are in the images."""
    return {
        pid: covered(
            [(int(match[1], 16), int(match[2]) << 12) for line in lines if (match := _ENTRY.match(line))]
        )
        for pid, lines in _by_process(told.explored["rss"]).items()
    }


def _beside(told: Told) -> set[tuple[int, int, int, str]]:
    """The mappings that crit names beside the pages: process, start, bytes, file."""
    found = set()
    for pid, lines in _by_process(told.explored["rss"]).items():
        for line in lines:
            entry, more = _ENTRY.match(line), _MORE.match(line)
            start, count, file = (
                entry.groups()[2:] if entry else more.groups() if more else (None, None, None)
            )
            if start and count:
                path = (file or "").strip()
                found.add((pid, int(start, 16), int(count) << 12, plain_path(path) if path else ""))
    return found


def _our_beside(told: Told) -> set[tuple[int, int, int, str]]:
    return {
        (
            item["pid"],
            item["start"],
            item["end"] - item["start"],
            item["name"] if item["kind"] == "file" else "",
        )
        for item in told.mappings
        if item["pages"] and item["kind"] not in ("shared", "memfd", "sysv")
    }


def _rss() -> Iterator[Field]:
    yield Field(
        "crit x rss",
        "address / pages",
        "guardianctl memory map --json: pages",
        _pages,
        our_pages,
        remark="crit has shared memory, whose pages are in images of their own, nowhere",
        reads_pages=True,
    )
    yield Field(
        "crit x rss",
        "mapping / pages file",
        "guardianctl memory map --json: start, end, name",
        _beside,
        _our_beside,
        reads_pages=True,
    )


FIELDS: tuple[Field, ...] = (*_ps(), *_fds(), *_mems(), *_rss())
