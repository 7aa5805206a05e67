"""Has guardianctl, checkpointctl and crit say all they know of one snapshot of the planted program."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import tarfile
from pathlib import Path

from tests.comparison.told import Facts, Told, addresses
from tests.host.archives import ARCHIVE, exported
from tests.host.site import Site
from tests.host.test_inspect import plant

READABLE = "/root/readable.tar"
_IMAGES = "/var/lib/guardian/store/*/*/img"
_WANTED = (
    r"(pstree|files|pipes-data|filelocks|sk-queues|remap-fpath|inventory|cgroup)\.img"
    r"|(core|mm|fs|ids|fdinfo|utsns|mountpoints|pagemap)-[0-9]+\.img|tcp-stream-[0-9a-f]+\.img"
)
_DECODE = f"""\
cd {_IMAGES}
for image in $(ls | grep -xE '{_WANTED}') ../work/stats-dump; do
  printf '%s\\t' "${{image##*/}}"
  crit decode -i "$image" || exit
  echo
done
"""
_ROW = 16
_NEEDLE = "needle-in-the-haystack"


def told(site: Site, scratch: Path) -> Told:
    """What they say."""
    machine = site.machine
    plant(site)
    machine.succeed("guardianctl snapshot planted")
    exported(site, "planted@1", "--compress none")
    machine.copy_from(ARCHIVE, scratch / "archive.tar")
    (scratch / "readable.tar").write_bytes(readable((scratch / "archive.tar").read_bytes()))
    machine.copy_to(scratch / "readable.tar", READABLE)
    found = machine.succeed(f"guardianctl memory search planted@1 --json --reveal --pid 1 {_NEEDLE}")
    hits = [json.loads(line)["address"] for line in found.splitlines()]
    around = _around(site, hits[0] // _ROW * _ROW)
    return Told(
        ours=json.loads(machine.succeed("guardianctl inspect --json --reveal planted@1")),
        mappings=[
            json.loads(line)
            for line in machine.succeed("guardianctl memory map --json planted@1").splitlines()
        ],
        hits=hits,
        around=around,
        show=_columns(machine.succeed(f"checkpointctl show {ARCHIVE}")),
        # The pagemaps that it can read are some bytes longer.
        described=_described(site, READABLE, "--all")
        | {"checkpoint_size": _described(site, ARCHIVE)["checkpoint_size"]},
        tree=machine.succeed(f"checkpointctl inspect --all {READABLE}"),
        sizes={
            int(row[0]): (row[1], row[2], row[3])
            for row in _cells(machine.succeed(f"checkpointctl memparse {READABLE}"))[1:]
        },
        found=addresses(machine.succeed(f"checkpointctl memparse --pid 1 --search {_NEEDLE} {READABLE}")),
        dump=_dumped(site, min(around)),
        explored={what: machine.succeed(f"crit x {_IMAGES} {what}") for what in ("ps", "fds", "mems", "rss")},
        images=_decoded(machine.succeed(_DECODE, timeout=300)),
    )


def _described(site: Site, archive: str, *options: str) -> Facts:
    told = site.machine.succeed(f"checkpointctl inspect {' '.join(options)} --format json {archive}")
    return dict(json.loads(told)[0])


def _decoded(text: str) -> dict[str, list[Facts]]:
    lines = (line.partition("\t") for line in text.splitlines() if line)
    return {name: json.loads(data)["entries"] for name, _, data in lines}


def _cells(table: str) -> list[list[str]]:
    """The rows of a table, its head first: between bars, or (another version) below dashes."""
    lines = table.splitlines()
    if any(line.startswith("|") for line in lines):
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    ruler = next(place for place, line in enumerate(lines) if re.fullmatch(r"(-+ *)+", line))
    spans = [match.span() for match in re.finditer(r"-+ *", lines[ruler])]
    spans[-1] = (spans[-1][0], 1000)
    rows = [lines[ruler - 1], *(line for line in lines[ruler + 1 :] if line)]
    return [[row[begin:end].strip() for begin, end in spans] for row in rows]


def _columns(table: str) -> dict[str, str]:
    head, row = _cells(table)
    names = ("Container", "Image", "ID", "Runtime", "Created", "Engine", "CHKPT Size", "Root Fs Diff Size")
    known = {name.upper(): name for name in names}
    return {known.get(name, name): cell for name, cell in zip(head, row, strict=True)}


def _around(site: Site, begin: int) -> dict[int, bytes]:
    """Four rows of memory, by address."""
    command = f"guardianctl memory read planted@1 --reveal --raw --pid 1 {begin:x}+{4 * _ROW} | base64 -w0"
    data = base64.b64decode(site.machine.succeed(command))
    return {begin + at: data[at : at + _ROW] for at in range(0, len(data), _ROW)}


def _dumped(site: Site, begin: int) -> dict[int, bytes]:
    """The same rows as checkpointctl has them."""
    command = f"checkpointctl memparse --pid 1 -o /root/dump {READABLE} && grep -A 3 ^{begin:016x} /root/dump"
    found = re.findall(r"(?m)^([0-9a-f]{16})  ((?:[0-9a-f]{2} ){16})", site.machine.succeed(command))
    return {int(address, 16): bytes.fromhex(data) for address, data in found}


def readable(archive: bytes) -> bytes:
    """The archive with pagemaps as CRIU 4.1 wrote them: checkpointctl 1.3 does not know the wider number of pages."""
    target = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as before, tarfile.open(fileobj=target, mode="w") as after:
        for info in before:
            file = before.extractfile(info)
            data = file.read() if file is not None else b""
            if re.fullmatch(r"checkpoint/pagemap-.*\.img", info.name):
                data = _older(data)
                info.size = len(data)
            after.addfile(info, io.BytesIO(data))
    return target.getvalue()


def _older(image: bytes) -> bytes:
    """A pagemap with the number of pages (field 5 of its entries) in the field where it was before as well (2)."""
    found, place = [image[:8]], 8
    while place < len(image):
        (size,) = struct.unpack_from("<I", image, place)
        entry = image[place + 4 : place + 4 + size]
        place += 4 + size
        fields = _varints(entry)
        if 5 in fields:
            fields[2] = fields[5]
            entry = b"".join(bytes([key << 3]) + _varint(value) for key, value in sorted(fields.items()))
        found += [struct.pack("<I", len(entry)), entry]
    return b"".join(found)


def _varints(message: bytes) -> dict[int, int]:
    """The fields of a message that has only numbers."""
    numbers: list[int] = []
    value = shift = 0
    for byte in message:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value = shift = 0
    return {key >> 3: number for key, number in zip(numbers[::2], numbers[1::2], strict=True)}


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
