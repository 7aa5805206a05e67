"""One recording: counting, reboot, counting, checkpoint and restore by hand, counting; all in one log of the disk."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import os
import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from guardian.host.images.folder import Folder
from guardian.host.images.search import Search
from tests.host.site import Site
from tests.machines import disk
from tests.machines.errors import MachineError
from tests.power import partitions
from tests.power.facts import Image, Recording
from tests.power.served_host import ServedHost

NAME = "steps"
STORE = partitions.STORE.mounted
VOLUME = partitions.DATA.mounted
PAUSE = 0.0
"""Seconds between two steps."""
COUNTED = 150
"""Steps before and after each checkpoint."""

_IMPATIENT = '[restore]\ncontainer-timeout = "5s"\n'
"""Without `spent` it waits for the proof that it has restored, and the boot with it."""
_PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "steps.py"
_MAGIC = b"guardian-steps:\x01"
_VALUE = re.compile(rb"([0-9a-f]{16})(.{8})", re.DOTALL)
_LOOK = 0.001


def digests(folder: Path) -> dict[str, str]:
    """The files of a folder of images."""
    return {
        entry.name: hashlib.sha256(Path(entry.path).read_bytes()).hexdigest() for entry in os.scandir(folder)
    }


def image(folder: Path) -> Image:
    """A folder of images, whole as it is; read with guardian's own reader."""
    found = set()
    for hit in Search(Folder(folder), _MAGIC, fixed=True, context=64).hits():
        value = _VALUE.match(hit.after)
        if value is not None:
            found.add((value[1].decode(), struct.unpack("<Q", value[2])[0]))
    assert len(found) == 1, f"the program's memory is {len(found)} times in {folder}: {found}"
    process, step = found.pop()
    return Image(digests(folder), process, step)


class _Watch:
    """Marks in the log what appears in the ledgers, soon after it does."""

    def __init__(self, host: ServedHost) -> None:
        self._host = host
        self._seen = self._now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK):
            for said in self._now() - self._seen:
                self._seen.add(said)
                self._host.mark(f"ledger {said}")

    def _now(self) -> set[str]:
        with contextlib.suppress(OSError, MachineError):  # between two boots
            found = root(self._host).joinpath(STORE).glob("*/*/ledger/[a-z]*")
            return {f"{path.name} {path.parent.parent.name}" for path in found}
        return set()


def root(host: ServedHost) -> Path:
    """The root of a host that is up, as this computer sees it."""
    return Path(f"/proc/{host.init}/root")


def steps(folder: Path) -> Iterator[tuple[str, int]]:
    """What the two files of a volume say, unsynced and synced: process and step."""
    for name in ("unsynced", "synced"):
        process, _, step = (folder / name).read_text().strip().partition(" ")
        yield process, int(step)


def _count(site: Site, host: ServedHost) -> None:
    """Let it count on."""
    _wait_for_step(site, host, list(steps(root(host) / VOLUME))[1][1] + COUNTED)


def _wait_for_step(site: Site, host: ServedHost, step: int) -> None:
    site.wait_for(lambda: list(steps(root(host) / VOLUME))[1][1] >= step)


def _images(store: Path) -> dict[str, Image]:
    """The images that are in a store. guardian deletes them once they are restored."""
    return {path.parent.name: image(path) for path in store.glob("*/*/img")}


def _set_up(host: ServedHost, package: Path, cycle: Cycle) -> str:
    """Install guardian and make the container; returns its id."""
    site = Site(host)
    site.install(package)
    if cycle is Cycle.REBOOT:
        site.set_up_guardian(_IMPATIENT)
    host.succeed(f"mkdir -p /{VOLUME}")
    host.copy_to(_PROGRAM, "/root/steps.py")
    stale = "" if cycle is Cycle.WHOLE else " --label guardian.stale=never"
    return host.succeed(
        f"docker create --name {NAME} --label guardian.enable=true{stale} --restart always --stop-timeout 2"
        f" -v /{VOLUME}:/data -v /root/steps.py:/steps.py:ro work:1 python3 -u /steps.py /data {PAUSE}"
    ).strip()


def _begin(host: ServedHost, site: Site) -> None:
    """Start the container, and let it count."""
    host.wait_for_docker()
    host.wait_until_succeeds("guardianctl status")
    host.succeed(f"docker start {NAME}")
    synced = root(host) / VOLUME / "synced"
    site.wait_for(lambda: synced.exists() and synced.stat().st_size > 0)
    # Its files have their blocks: from here on they are only written over.
    host.succeed("sync")


class Cycle(enum.Enum):
    """What is recorded."""

    WHOLE = "reboot, then checkpoint and restore by hand"
    WHOLE_UNCOMPARED = "the same, and nobody compares the open files (guardian.stale=never)"
    REBOOT = "a reboot, whatever guardian says of it, with nothing compared"


def record(host: ServedHost, package: Path, cycle: Cycle) -> Recording:
    """Set up and record. The host is off afterwards, its disk as it was before in `host.img`."""
    host.start()
    container = _set_up(host, package, cycle)
    host.poweroff()
    disk.wait_until_detached(host.folder)
    live = host.folder / "live.img"
    disk.copy(host.folder / disk.IMAGE, live)
    with host.serving("record", live):
        host.start()
        site = Site(host)
        _begin(host, site)
        with _Watch(host):
            host.mark("begin")
            _count(site, host)
            images = _reboot(host, site, cycle)
            if cycle is not Cycle.REBOOT:
                images |= _by_hand(host, site)
            host.mark("end")
    live.unlink()
    return Recording(container, images)


def _reboot(host: ServedHost, site: Site, cycle: Cycle) -> dict[str, Image]:
    host.mark("reboot")
    said = host.run("systemctl reboot")
    host.wait_for_shutdown(said=said)
    host.mark("saved")
    # Unmounted in good order: what is on the disk is what was in the cache.
    kept = host.folder / "kept"
    host.offline(f'mkdir {kept} && cp -a "$ROOT/{STORE}/." {kept}')
    images = _images(kept)
    assert len(images) == 1, f"there are images of {sorted(images)}"
    host.start()
    if cycle is not Cycle.REBOOT:
        site.wait_restored()
        _resumed(host, site)
    else:
        _wait_for_step(site, host, next(iter(images.values())).step + COUNTED)
        host.mark("counted")
    return images


def _by_hand(host: ServedHost, site: Site) -> dict[str, Image]:
    host.mark("checkpoint")
    host.succeed(f"guardianctl checkpoint {NAME}")
    host.mark("saved")
    images = _images(root(host) / STORE)
    assert len(images) == 1, f"there are images of {sorted(images)}"
    host.mark("restore")
    host.succeed(f"guardianctl restore {NAME}")
    _resumed(host, site)
    return images


def _resumed(host: ServedHost, site: Site) -> None:
    assert site.outcome(NAME) == "resumed", site.reason(NAME)
    host.mark("resumed")
    _count(site, host)
    assert not (root(host) / VOLUME / "misfits").exists()
    host.mark("counted")
