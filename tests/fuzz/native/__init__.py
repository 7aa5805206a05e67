"""The parsers of the C programs, under AddressSanitizer and UBSan, with inputs of our own driver's (driver.c)."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_RUNTIME = _HERE.parents[2] / "guardian" / "runtime"
NATIVE: Mapping[str, tuple[str, ...]] = {
    "ticket": ("common.c",),
    "call": ("common.c",),
    "entries": (),
    "facts": (
        "common.c",
        "connections.c",
        "network.c",
        "conntrack.c",
        "fence_look.c",
        "tracer.c",
    ),
    "fences": ("common.c", "fence_look.c"),
}
"""The targets, each with what it is linked with."""
_FLAGS = (
    "-std=gnu11",
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
_LIBRARIES = {"fences": ("-lnftables",)}
_MOST_SECONDS = 4 * 3600
_HUNG = 99


def build(name: str, folder: Path) -> Path:
    """The driver with one target, compiled into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    target, program = folder / f"{name}.o", folder / name
    own = [str(_HERE / f"{name}.c"), "-c", "-o", str(target)]
    subprocess.run(["gcc", *_FLAGS, "-Wno-unused-function", "-fsanitize-coverage=trace-pc", *own], check=True)
    rest = [str(_HERE / "driver.c"), *(str(_RUNTIME / each) for each in NATIVE[name])]
    subprocess.run(["gcc", *_FLAGS, "-o", program, target, *rest, *_LIBRARIES.get(name, ())], check=True)
    return program


def run_native(
    name: str, runs: int, seed: int, folder: Path, known: Sequence[Path] = ()
) -> Mapping[str, Any]:
    """The report of one target, as the Python ones have it."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "found").mkdir(parents=True)
    program = build(name, folder)
    begun = time.monotonic()
    ended = subprocess.run(
        [program, str(runs), str(seed), folder, *known],
        env={"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_MOST_SECONDS,
        check=False,
    )
    (folder / "log").write_text(ended.stderr)
    crashes: dict[str, str] = {}
    said: dict[str, int] = {"inputs": 0, "accepted": 0, "grown": 0}
    if ended.returncode == 0:
        said = json.loads(ended.stdout)
    elif ended.returncode != _HUNG:
        length = int.from_bytes((folder / "last").read_bytes()[:8], "little")
        (folder / "crash-last").write_bytes((folder / "last").read_bytes()[8 : 8 + length])
        crashes[f"status {ended.returncode}"] = ended.stderr[:2000]
    return {
        "inputs": said["inputs"],
        "seconds": time.monotonic() - begun,
        "outcomes": {"accepted": said["accepted"], "rejected": said["inputs"] - said["accepted"]},
        "crashes": crashes,
        "crash_count": len(crashes),
        "hangs": int(ended.returncode == _HUNG),
        "grown": said["grown"],
        "engine": "gcc",
    }
