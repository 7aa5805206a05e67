"""`make fuzz-archives`: ROUNDS (100,000) damaged and hostile archives go through an import, up to what it would make.

Archive number N of a campaign with SEED is that of seed SEED + N, so `ROUNDS=1 SEED=...` repeats one; dist/ gets what
failed. Exit status 0 if each was refused with a GuardianError or is an arrival that is what its manifest says, soon, in
bounds, with no file anywhere else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from guardian.host import docker_arrivals, filters, tree_put
from guardian.host.docker_arrivals import Arrivals
from guardian.model.config import defaults
from guardian.model.errors import GuardianError, StoreError
from guardian.model.wording import escaped
from guardian.work import arrival
from guardian.work.arrival import Arrival, Terms
from guardian.work.host import Host
from tests.fuzz.archive_damage import MANIFEST, damaged
from tests.fuzz.damages import DAMAGES
from tests.fuzz.guarded_folder import GuardedFolder
from tests.fuzz.tar_pieces import joined, plain
from tests.fuzz.whole_archive import Whole, whole

MOST_SECONDS = 10.0
MOST_GROWTH = 256 << 20
MOST_KEPT = 32 << 20
"""Bytes that may still be taken when all is over."""
ROOM = 32 << 20
"""Bytes that an archive may unpack to."""
_BOMB = 2 * ROOM
_MOST_PUT = 4 << 20
_PORTION = 5000
_WARM = 500
_PACKED = 0.01
_KEPT = Path(__file__).resolve().parents[2] / "dist"


class TooSlow(BaseException):
    """An archive took longer than it may; no handler of errors may take it for one."""


class NoDocker:
    """What an import asks dockerd before it makes anything, on a host where nothing is."""

    def containers(self) -> list[Any]:
        return []

    def described(self) -> dict[str, str]:
        return {"CgroupDriver": "systemd"}

    def networks(self) -> dict[str, Any]:
        return {}

    def image_id(self, _: str) -> str:
        return ""

    def volume(self, _: str) -> dict[str, Any]:
        return {}


class Imports:
    """Archives on their way in, one after the other, on one host."""

    def __init__(self, scratch: Path, original: Whole) -> None:
        self._nested = {piece.name: piece.data for piece in original.pieces if piece.name.endswith(".tar")}
        around = scratch / "around"
        around.mkdir()
        self.guarded = GuardedFolder(around)
        self.outside = str(around)
        self._host = Host.of(dataclasses.replace(defaults(), store_path=str(self.guarded.inside)))
        self._terms = Terms(use_volumes=True)

    def once(self, data: bytes) -> str:
        """What becomes of an archive: an error's name, or `arrival`. Raises what is no GuardianError."""
        disk = os.statvfs(self.guarded.inside)
        reserve = max(0, disk.f_bavail * disk.f_frsize - ROOM)
        host = dataclasses.replace(self._host, config=dataclasses.replace(self._host.config, reserve=reserve))
        self.guarded.watching = True
        try:
            with (
                filters.decoded(cast(BinaryIO, io.BytesIO(data)), identity="") as stream,
                arrival.unpacked(host, stream, self._terms, host.ledger.store / "new") as found,
            ):
                self._looked_at(host, found)
            outcome = "arrival"
        except StoreError as error:
            raise AssertionError("the store has no room for this campaign") from error
        except GuardianError as error:
            said = escaped(str(error))
            assert said.isprintable(), said
            assert len(said) < 2000, said
            outcome = error.name if error.name != "BadInput" else type(error).__name__
        finally:
            self.guarded.watching = False
        problems = self.guarded.problems()
        assert not problems, problems
        return outcome

    def _looked_at(self, host: Host, found: Arrival) -> None:
        """All that an import does before, and what it would ask dockerd for; raises GuardianError."""
        agrees(found)
        for line in arrival.said(found):
            assert escaped(line).isprintable()
        arrival.check(host, cast(Arrivals, NoDocker()), found, self._terms)
        old = found.container
        try:
            body = docker_arrivals.body_from(found.inspection, "work:1", old.networks, old.id)
            json.dumps([body, found.record.to_json()])
        except arrival.OF_THE_ARCHIVE as error:
            raise GuardianError("the import failed", f"{error!s:.300}") from error
        self._put(found)

    def _put(self, found: Arrival) -> None:
        """The layer and the volume put into folders, as they would be later; raises GuardianError."""
        for number, (name, good) in enumerate(self._nested.items()):
            data = (found.folder / name).read_bytes()
            if data == good or tree_put.check(io.BytesIO(data)) > _MOST_PUT:
                continue
            target = found.folder / f"put{number}"
            target.mkdir()
            try:
                tree_put.put(io.BytesIO(data), target)
                tree_put.hide(list(found.deleted), target)
            except OSError as error:  # an import says so and takes back what it has made
                raise GuardianError("the import failed", f"{error!s:.300}") from error


def good(original: Whole) -> bytes:
    """The archive before any damage."""
    return joined([*original.pieces, plain(MANIFEST, json.dumps(original.manifest).encode())])


def agrees(found: Arrival) -> None:
    """Whether the folder is what the manifest says: plain files, each with its length and its hash."""
    parts = {part.name: part for part in found.manifest.members}
    names = set()
    for folder, _, files in os.walk(found.folder):
        for each in files:
            path = Path(folder) / each
            state = path.lstat()
            assert stat.S_ISREG(state.st_mode), path
            assert stat.S_IMODE(state.st_mode) == 0o600, path
            names.add(str(path.relative_to(found.folder)))
    assert names == {*parts, MANIFEST}
    for name, part in parts.items():
        data = (found.folder / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part.size, part.sha256), name


def bombs() -> list[bytes]:
    """Small files that zstd makes large ones of, or wants much memory for."""
    info = tarfile.TarInfo("checkpoint/pages-1.img")
    info.size = _BOMB
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, _BOMB
    heads = (info.tobuf(), header.tobuf(), b"", b"1" * 512)
    found = [_compressed([head, bytes(_BOMB)]) for head in heads]
    return [*found, _compressed([info.tobuf(), bytes(_BOMB)], "--long=31", "-1")]


def _compressed(chunks: list[bytes], *options: str) -> bytes:
    return subprocess.run(
        ["zstd", "-q", "-c", *options], input=b"".join(chunks), stdout=subprocess.PIPE, check=True
    ).stdout


def packed(data: bytes, seed: int, bombs: Sequence[bytes]) -> bytes:
    """Now and then the archive as zstd has it, whole or damaged, or a bomb, or what seems to be encrypted."""
    random_ = random.Random(-seed - 1)
    kind = random_.random()
    if kind >= _PACKED:
        return data
    if kind < _PACKED / 4:
        return random_.choice(bombs)
    if kind < _PACKED / 3:
        return b"age-encryption.org/v1" + data
    found = bytearray(_compressed([data], "-1"))
    if random_.random() < 0.7:
        random_.choice(DAMAGES)(found, random_)
    return bytes(found)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooSlow in what has not ended by then."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_slow(*_: object) -> None:
    raise TooSlow(f"more than {MOST_SECONDS:g} s")


def _one(imports: Imports, whole_one: Whole, seed: int, explosive: Sequence[bytes]) -> str:
    data = packed(damaged(whole_one, seed, imports.outside), seed, explosive)
    try:
        with limited(MOST_SECONDS):
            return imports.once(data)
    except (Exception, TooSlow) as error:
        _KEPT.mkdir(exist_ok=True)
        (_KEPT / f"fuzz-archives-{seed}.tar").write_bytes(data)
        raise AssertionError(f"ROUNDS=1 SEED={seed}: {error!r:.2000}") from error


def _taken() -> tuple[int, int, int]:
    """Bytes in memory now, open files, threads."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize(), len(os.listdir("/proc/self/fd")), threading.active_count()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def portion(what: tuple[int, int, Sequence[bytes]]) -> Counter[str]:
    """Archives from a seed on, in a process of their own; how often each outcome came. Raises AssertionError."""
    seed, rounds, explosive = what
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as scratch:
        original = whole(Path(scratch))
        imports = Imports(Path(scratch), original)
        assert imports.once(good(original)) == "arrival"
        signal.signal(signal.SIGALRM, _too_slow)
        counts: Counter[str] = Counter()
        peak, taken = _peak(), _taken()
        for number in range(rounds):
            counts[_one(imports, original, seed + number, explosive)] += 1
            if number == _WARM:
                taken = _taken()
        grown, now = _peak() - peak, _taken()
        os.chdir("/")
    where = f"seeds {seed} to {seed + rounds - 1}"
    assert grown < MOST_GROWTH, f"{where}: it grew by {grown >> 20} MiB"
    assert now[0] - taken[0] < MOST_KEPT, f"{where}: it keeps {now[0] - taken[0] >> 20} MiB"
    assert now[1:] == taken[1:], f"{where}: it keeps files or threads, {now[1:]}, before {taken[1:]}"
    print(f"{where}: {dict(sorted(counts.items()))}, at most {grown >> 20} MiB more than before", flush=True)
    return counts


def main() -> int:
    """Run the campaign in portions, side by side."""
    rounds, seed = int(os.environ.get("ROUNDS", "100000")), int(os.environ.get("SEED", "1"))
    jobs = int(os.environ.get("JOBS", "0")) or len(os.sched_getaffinity(0))
    explosive, total = bombs(), Counter[str]()
    portions = [(seed + at, min(_PORTION, rounds - at), explosive) for at in range(0, rounds, _PORTION)]
    begun = time.monotonic()
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        for found in pool.imap(portion, portions, chunksize=1):
            total += found
    seconds = time.monotonic() - begun
    shown = dict(sorted(total.items()))
    print(f"{total.total()} archives in {seconds:.0f} s, {rounds / seconds:.0f} a second: {shown}")
    print("no crash, no hang, no growth, no file elsewhere")
    return 0


if __name__ == "__main__":
    sys.exit(main())
