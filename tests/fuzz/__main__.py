"""`make fuzz-images`: damaged images of a planted program, ROUNDS of them (100,000), from SEED (1) on.

Needs pycriu on the path. Exit status 0 if every one led to facts or to an error of guardian's, soon and in bounds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.images import campaign
from tests.host.site import Site
from tests.host.test_inspect import plant
from tests.machines import ContainerHost

_REPOSITORY = Path(__file__).resolve().parents[2]
_AT_ONCE = 5000


def originals(target: Path) -> Path:
    """The images of a snapshot of tests/programs/planted.py, taken on a host made for it."""
    with ContainerHost("forky") as host:
        subprocess.run(
            [_REPOSITORY / "packaging" / "build.sh", target], check=True, stdout=subprocess.DEVNULL
        )
        site = Site(host)
        site.install(next(target.glob("*.deb")))
        plant(site)
        host.succeed(
            "guardianctl snapshot planted && tar -C /var/lib/guardian/store/*/* -cf /root/img.tar img"
        )
        host.copy_from("/root/img.tar", target / "img.tar")
    subprocess.run(["tar", "-C", target, "-xf", target / "img.tar"], check=True)
    return target / "img"


def main() -> int:
    """Run the campaign in portions, each with a seed of its own."""
    rounds, seed = int(os.environ.get("ROUNDS", "100000")), int(os.environ.get("SEED", "1"))
    total: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as temporary:
        images = originals(Path(temporary))
        for number in range((rounds + _AT_ONCE - 1) // _AT_ONCE):
            with tempfile.TemporaryDirectory() as scratch:
                found = campaign(images, Path(scratch), rounds=_AT_ONCE, seed=seed + number)
            for outcome, count in found.items():
                total[outcome] = total.get(outcome, 0) + count
            print(f"seed {seed + number}: {found}", flush=True)
    print(f"{sum(total.values())} damaged images: {total}; no crash, no hang, no growth")
    return 0


if __name__ == "__main__":
    sys.exit(main())
