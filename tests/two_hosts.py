"""`make lab`: two hosts with guardian that reach each other by ssh, to try things out; Enter ends them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.host import lab
from tests.machines.recipes import known_suites

_REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> int:
    """Boot them, say how to get in, wait."""
    suite = known_suites()[0]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [_REPOSITORY / "packaging" / "build.sh", folder], check=True, stdout=subprocess.DEVNULL
        )
        with lab.opened(next(Path(folder).glob("*.deb")), (suite, suite)) as both:
            for name, site in (("one", both.one), ("two", both.two)):
                site.machine.copy_to(_REPOSITORY / "examples" / "hung.py", "/root/hung.py")
                print(f"{name}: {site.machine.shell_hint()}")
            print(
                "The image work:1 (Python, redis) is there, docker compose too. Enter ends them.", flush=True
            )
            with contextlib.suppress(KeyboardInterrupt):
                sys.stdin.readline()
    return 0


if __name__ == "__main__":
    sys.exit(main())
