"""A search of the same 1 GiB by guardianctl in its images and by checkpointctl in an archive of them."""

from __future__ import annotations

import json
import math
import statistics
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from guardian.model import podman
from tests.bench.__main__ import Line
from tests.host.site import Site
from tests.unit.samples import container

ROUNDS = 7
_IMAGES, _ARCHIVE = "/root/img", "/root/archive.tar"
_TIMED = f"""\
import json, os, re, subprocess, sys, time
how, pattern = sys.argv[1:]
ours = ["guardianctl", "memory", "search", "--most", "100000", "{_IMAGES}", pattern]
ours += ["--regex"] if how == "regex" else []
option = "--search-regex" if how == "regex" else "--search"
theirs = ["checkpointctl", "memparse", "--pid", "1", option, pattern, "{_ARCHIVE}"]

def timed(argv):
    begun = time.perf_counter()
    done = subprocess.run(argv, stdout=subprocess.PIPE, env={{**os.environ, "TMPDIR": "/var/tmp"}})
    seconds = time.perf_counter() - begun
    assert done.returncode in ((0, 1) if argv is ours else (0,)), (argv, done.returncode)
    return seconds, done.stdout.decode(errors="replace")

times = [[], []]
for number in range({ROUNDS} + 1):
    told = [timed(argv) for argv in (ours, theirs)]
    if number:  # the first warms the cache
        for place in (0, 1):
            times[place].append(told[place][0])
found = [[int(line.split("\\t")[1], 16) for line in told[0][1].splitlines()],
         [int(each, 16) for each in re.findall(r"(?m)^\\|?\\s*([0-9a-f]{{16}})\\s", told[1][1])]]
print(json.dumps([*times, *found]))
"""


def beside(site: Site, images: Path, fixed: Sequence[str], expressions: Sequence[str]) -> Iterator[Line]:
    """Both in turn, the whole process of each; checkpointctl has to take the pages out of the archive first."""
    machine = site.machine
    if "--search" not in machine.succeed("checkpointctl memparse --help"):
        version = machine.succeed("dpkg-query -W checkpointctl").strip()
        yield Line(
            f"NOT COMPARABLE: {version} cannot search", math.inf, 1.0, "x", "a newer checkpointctl is needed"
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive.tar"
        write_archive(images, archive)
        machine.copy_to(archive, _ARCHIVE)
    machine.succeed(f"mkdir -p {_IMAGES}; tar -C {_IMAGES} --strip-components 1 -xf {_ARCHIVE} checkpoint")
    machine.write("/root/timed.py", _TIMED)
    for how, patterns in (("fixed", fixed), ("regex", expressions)):
        for pattern in patterns:
            yield _line(site, how, pattern)


def _line(site: Site, how: str, pattern: str) -> Line:
    told = site.machine.succeed(f"python3 /root/timed.py {how} '{pattern}'", unit=True, timeout=900)
    ours, theirs, found, their_found = json.loads(told)
    assert set(their_found) <= set(found), f"{pattern}: checkpointctl found more"
    mine, its = statistics.median(ours), statistics.median(theirs)
    note = f"{mine:.3f} s against {its:.3f} s, {len(found)} and {len(their_found)} hits, medians of {ROUNDS} in turn"
    return Line(f"{how} {pattern}, checkpointctl", mine / its, 1.0, "x", note)


def write_archive(images: Path, target: Path) -> None:
    """An archive as `guardianctl export` writes it, as far as checkpointctl looks at it."""
    of = container()
    with tempfile.TemporaryDirectory() as folder, tarfile.open(target, "w") as archive:
        for name, data in (
            ("config.dump", podman.config(of, {}, "2026-01-01T00:00:00Z")),
            ("spec.dump", podman.spec(of, {})),
        ):
            (Path(folder) / name).write_text(json.dumps(data))
            archive.add(Path(folder) / name, name)
        archive.add(images, "checkpoint")
