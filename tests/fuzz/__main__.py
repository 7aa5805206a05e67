"""`make fuzz-images`: damaged checkpoints of a planted program, ROUNDS of them (100,000), from SEED (1) on.

Each is read by one of `readers.READERS`, which the seed chooses. PROGRAM=small: of three processes and a pipe, many
times as fast. JOBS processes at once (1). Needs pycriu on the path. Exit status 0 if every one led to facts or to an
error of guardian's, soon and in bounds.
"""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.fuzz.images import portion
from tests.host.site import Site
from tests.host.test_inspect import plant
from tests.machines import ContainerHost

_REPOSITORY = Path(__file__).resolve().parents[2]
_AT_ONCE = 5000


def _small(site: Site) -> None:
    site.run("planted", "sh -c 'exec 5</etc/passwd; sleep 100000 | cat'", guarded=False)


PROGRAMS: Mapping[str, Callable[[Site], object]] = {"planted": plant, "small": _small}


def original(target: Path, program: str) -> Path:
    """The folder of a snapshot of a program, taken on a host made for it, in its container's folder."""
    with ContainerHost("forky") as host:
        subprocess.run(
            [_REPOSITORY / "packaging" / "build.sh", target], check=True, stdout=subprocess.DEVNULL
        )
        site = Site(host)
        site.install(next(target.glob("*.deb")))
        PROGRAMS[program](site)
        host.succeed("guardianctl snapshot planted")
        host.wait_until_succeeds("guardianctl checkpoints --json | grep -q '\"hashed\": true'")
        host.succeed("cd /var/lib/guardian/store && tar -cf /root/store.tar */*/")
        host.copy_from("/root/store.tar", target / "store.tar")
    subprocess.run(["tar", "-C", target, "-xf", target / "store.tar"], check=True)
    return next(target.glob("*/*/img")).parent


def main() -> int:
    """Run the campaign in portions, each with a seed of its own."""
    rounds, seed = int(os.environ.get("ROUNDS", "100000")), int(os.environ.get("SEED", "1"))
    portions = [min(_AT_ONCE, rounds - begin) for begin in range(0, rounds, _AT_ONCE)]
    total: dict[str, collections.Counter[str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = original(Path(temporary), os.environ.get("PROGRAM", "planted"))
        # A process for each portion: what one has grown by is seen.
        with ProcessPoolExecutor(int(os.environ.get("JOBS", "1")), max_tasks_per_child=1) as pool:
            jobs = [pool.submit(portion, checkpoint, now, seed + place) for place, now in enumerate(portions)]
            for job in jobs:
                for reader, outcomes in job.result().items():
                    total.setdefault(reader, collections.Counter()).update(outcomes)
    for reader, outcomes in sorted(total.items()):
        print(f"{reader}: {outcomes.total()} damaged checkpoints: {dict(outcomes)}")
    print(f"{sum(outcomes.total() for outcomes in total.values())} in all; no crash, no hang, no growth")
    return 0


if __name__ == "__main__":
    sys.exit(main())
