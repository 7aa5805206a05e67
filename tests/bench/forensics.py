"""`make bench-forensics`: looking into 1 GiB of memory in images, against grep on the same files and checkpointctl.

Exit status 0 only if every line keeps its bar. One run, interleaved, medians, warm cache.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.__main__ import MEGABYTE, Line
from tests.bench.beside_checkpointctl import beside
from tests.bench.frozen import frozen, host_with_guardian
from tests.unit.image_builder import PAGE, Entry, ImageBuilder, Vma

ROUNDS = 7
_BASE = 0x7F0000000000
_SIZE = 1 << 30
_ENTRY = 64 << 10
_INSPECT = """\
import sys
from pathlib import Path
from guardian.host.images.folder import Folder
from guardian.host.images.processes import inspect
inspect(Folder(Path(sys.argv[1])))
"""
NEEDLE = "needle-in-the-haystack"
FIXED = (NEEDLE, '"value":-1')
EXPRESSIONS = ("secret-[0-9]+=[a-z]{5}", "[A-Z]{6}[0-9]{4}", "(?:foo|bar|needle)-[0-9]{3}")


def mixed(seed: int) -> bytes:
    """4 MiB: random bytes, zeros, text and records, a MiB each; the needle once."""
    source = random.Random(seed)
    words = [bytes(source.choices(b"etaoinshrdlucmfwyp", k=source.randint(2, 9))) for _ in range(2000)]
    text = b" ".join(source.choices(words, k=200_000))[:MEGABYTE].ljust(MEGABYTE, b"\n")
    records = b"".join(b'%d:{"key":"user-%d","value":%d}\n' % (n, n * 7, n * n) for n in range(28_000))
    odd = source.randbytes(MEGABYTE - 64) + b"\n" + NEEDLE.encode() + b"\n" + bytes(64)
    return odd[:MEGABYTE] + bytes(MEGABYTE) + text + records[:MEGABYTE].ljust(MEGABYTE, b"\n")


def build(folder: Path) -> Path:
    """A checkpoint of one process with 1 GiB: mappings of 64 MiB with a page between them, entries of 64 KiB."""
    builder = ImageBuilder(folder)
    size = 64 * MEGABYTE
    mappings, entries = [], []
    for number in range(_SIZE // size):
        start = _BASE + number * (size + PAGE)
        mappings.append(Vma(start, start + size))
        content = mixed(number)
        for place in range(0, size, _ENTRY):
            begin_at = place % len(content)
            entries.append(Entry(start + place, content[begin_at : begin_at + _ENTRY]))
    builder.process(1, mappings, entries)
    builder.core(1)
    return builder.finish()


def measured(folder: Path, *task: str) -> tuple[float, float]:
    """Seconds of a task in a process of its own, after its interpreter has started, and MiB of its anonymous memory."""
    argv = [sys.executable, "-m", "tests.bench.one_search", str(folder), *task]
    seconds, peak = subprocess.run(
        argv, check=True, stdout=subprocess.PIPE, text=True, env=_compiled(folder)
    ).stdout.split()
    return float(seconds), float(peak)


def _compiled(folder: Path) -> dict[str, str]:
    """The environment of a process whose modules are compiled once, as the package has them."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder.with_name("compiled"))}


def grep(folder: Path, how: str, pattern: str) -> float:
    """Seconds of grep on the same pages; its output goes to a pipe, into /dev/null it would end at the first match."""
    pages = [str(path) for path in sorted(folder.glob("pages-*.img"))]
    begun = time.perf_counter()
    subprocess.run(
        ["grep", how, "--", pattern, *pages],
        stdout=subprocess.PIPE,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    return time.perf_counter() - begun


def against_grep(folder: Path, how: str, option: str, patterns: Sequence[str]) -> Iterator[Line]:
    """Search and grep in turn, the whole process of both."""
    for pattern in patterns:
        ours, theirs, peaks = [], [], []
        for number in range(ROUNDS + 1):
            begun = time.perf_counter()
            _, peak = measured(folder, how, pattern)
            whole = time.perf_counter() - begun
            other = grep(folder, option, pattern)
            if number:  # the first warms the cache
                ours.append(whole)
                theirs.append(other)
                peaks.append(peak)
        mine, its = statistics.median(ours), statistics.median(theirs)
        note = f"{mine:.3f} s against grep {option} {its:.3f} s, medians of {ROUNDS} in turn"
        yield Line(f"{how} {pattern}", mine / its, 1.5, "x", note)
        yield Line("  its anonymous memory, at most", max(peaks), 100.0, "MiB")


def inspecting(folder: Path) -> Iterator[Line]:
    """The summary of the whole checkpoint, its imports among it, against an interpreter that does nothing."""
    seconds = []
    for _ in range(ROUNDS):
        bare, whole = (_seconds(code, folder) for code in ("", _INSPECT))
        seconds.append(whole - bare)
    yield Line("inspect of 1 GiB, after the interpreter's start", statistics.median(seconds), 0.5, "s")


def _seconds(code: str, folder: Path) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, folder], check=True, env=_compiled(folder))
    return time.perf_counter() - begun


def on_a_host(images: Path) -> Iterator[Line]:
    """What needs a host: checkpointctl, and a container to freeze."""
    with host_with_guardian() as site:
        yield from beside(site, images, FIXED[:1], EXPRESSIONS[:1])  # the others take it minutes
        yield from frozen(site)


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = build(Path(temporary) / "img")
        print(f"{'':44} {'value':>8} {'':4} {'bar':>8}   verdict")
        lines = []
        for part in (
            against_grep(folder, "fixed", "-aF", FIXED),
            against_grep(folder, "regex", "-aP", EXPRESSIONS),
            inspecting(folder),
            on_a_host(folder),
        ):
            for line in part:
                print(line, flush=True)
                lines.append(line)
    return 0 if all(line.kept for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
