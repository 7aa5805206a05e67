"""`python3 -m tests.machines`: build the roots, enter a host, remove what dead runs left, try everything."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from . import leftovers, recipes, roots
from .nspawn import ContainerHost
from .smoke import smoke


def build(what: str) -> None:
    """Build a root or the image, unless it is there; prints where."""
    begun = time.monotonic()
    path = roots.image_tar() if what == "image" else ContainerHost.base(what)
    print(f"{what}: {path} ({time.monotonic() - begun:.1f} s)")


def shell(suite: str) -> int:
    """Boot a host and give a shell in it; the host ends with the shell."""
    with ContainerHost(suite) as host:
        print(f"{host.name} at {host.address}; from another terminal: {host.shell_hint()}", flush=True)
        return subprocess.call(host.enter(["bash", "-l"]))


def main() -> int:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.machines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="build what is not in the cache yet")
    builder.add_argument("what", nargs="*", choices=[*recipes.known_suites(), "image", []])
    sheller = commands.add_parser("shell", help="boot a host and enter it")
    sheller.add_argument(
        "suite", nargs="?", choices=recipes.known_suites(), default=recipes.known_suites()[0]
    )
    commands.add_parser("clean", help="remove what dead runs left behind")
    smoker = commands.add_parser("smoke", help="try a host with a container, a dump, reboot, crash, poweroff")
    smoker.add_argument("suite", nargs="?", choices=recipes.known_suites(), default=recipes.known_suites()[0])
    options = parser.parse_args()
    if options.command == "build":
        for what in options.what or ["image", *recipes.known_suites()]:
            build(what)
    elif options.command == "shell":
        return shell(options.suite)
    elif options.command == "clean":
        for name in leftovers.remove_dead():
            print(f"removed {name}")
    elif options.command == "smoke":
        smoke(lambda: ContainerHost(options.suite))
    return 0


if __name__ == "__main__":
    sys.exit(main())
