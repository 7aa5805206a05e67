"""`make bench-at-rest`: what it costs to compare images with their hashes, to encrypt them, to overwrite them.

Checkpoint and restore of a redis of 512 MiB by hand, each setting in turn, medians; no bars, the ratios are the answer.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.host.site import Site
from tests.host.test_secrecy import MAKE_KEY
from tests.machines import ContainerHost

_REPOSITORY = Path(__file__).resolve().parents[2]
ROUNDS = 5
MEGABYTES = 512
_PLAIN = "[restore]\nverify = false\ncanary = false\n[retention]\nerase = false\n"
SETTINGS: Mapping[str, str] = {
    "nothing of all that": _PLAIN,
    "hashes compared": _PLAIN.replace("verify = false", "verify = true"),
    "encrypted": f"[store]\nencrypt = true\n{_PLAIN}",
    "deleted images overwritten": _PLAIN.replace("erase = false", "erase = true"),
}


def once(site: Site) -> tuple[float, float, float]:
    """Seconds of a checkpoint, of a restore, and until nothing is left to be erased."""
    times = []
    for command in ("guardianctl checkpoint redis", "guardianctl restore redis"):
        if command.endswith("restore redis"):
            # Only what has been hashed is compared.
            site.machine.wait_until_succeeds("ls /var/lib/guardian/checkpoints/*/*/manifest.json")
        begun = time.monotonic()
        site.machine.succeed(command, timeout=300)
        times.append(time.monotonic() - begun)
    begun = time.monotonic()
    site.machine.wait_until_succeeds("! test -e /var/lib/guardian/checkpoints/.erased", timeout=120)
    assert site.outcome("redis") == "resumed", site.reason("redis")
    return times[0], times[1], time.monotonic() - begun


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as temporary, ContainerHost() as host:
        build = [str(_REPOSITORY / "packaging" / "build.sh"), temporary]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        host.start()
        host.poweroff()
        subprocess.run(
            ["tune2fs", "-O", "encrypt", host.folder / "host.img"], check=True, stdout=subprocess.DEVNULL
        )
        host.start()
        site = Site(host)
        site.install(next(Path(temporary).glob("*.deb")))
        host.succeed(MAKE_KEY)
        site.redis("redis")
        site.machine.succeed(
            f"docker exec redis redis-cli debug populate {MEGABYTES * 10} k 104000", timeout=120
        )
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in SETTINGS}
        for number in range(ROUNDS + 1):
            for name, text in SETTINGS.items():
                site.set_up_guardian(text)
                measured = once(site)
                if number:  # the first warms the cache
                    found[name].append(measured)
    base = [statistics.median(column) for column in zip(*found["nothing of all that"], strict=True)]
    print(f"{'':28} {'checkpoint':>18} {'restore':>18} {'until erased':>14}")
    for name, rounds in found.items():
        save, back, gone = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(
            f"{name:28} {save:8.3f} s {save / base[0]:5.2f} x {back:8.3f} s {back / base[1]:5.2f} x {gone:10.3f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
