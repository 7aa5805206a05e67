"""`python3 -m tests.machines`: build the roots, enter a host, remove what dead runs left, try everything."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time

from . import cache, leftovers, recipes, roots
from .nspawn import ContainerHost
from .smoke import smoke
from .vm import VirtualMachine

KINDS = (*recipes.known_suites(), "vm")


def build(what: str) -> None:
    """Build a root or the image, unless it is there; prints where."""
    begun = time.monotonic()
    builders = {"image": roots.image_tar, "vm": VirtualMachine.base}
    path = builders[what]() if what in builders else ContainerHost.base(what)
    print(f"{what}: {path} ({time.monotonic() - begun:.1f} s)", flush=True)


def make(kind: str) -> ContainerHost | VirtualMachine:
    """A machine of that kind, switched off."""
    return VirtualMachine() if kind == "vm" else ContainerHost(kind)


def shell(kind: str) -> int:
    """Boot a machine and give a shell in it; the machine ends with the shell."""
    with make(kind) as machine:
        hint = machine.shell_hint()
        print(f"{machine.name} at {machine.address}; from another terminal: {hint}", flush=True)
        return subprocess.call(shlex.split(hint))


def main() -> int:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.machines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="build what is not in the cache yet")
    builder.add_argument("what", nargs="*", choices=[*KINDS, "image", []])
    sheller = commands.add_parser("shell", help="boot a host and enter it")
    sheller.add_argument(
        "suite", nargs="?", choices=recipes.known_suites(), default=recipes.known_suites()[0]
    )
    commands.add_parser("clean", help="remove what dead runs left behind")
    smoker = commands.add_parser("smoke", help="try a host with a container, a dump, reboot, crash, poweroff")
    smoker.add_argument("kind", nargs="?", choices=KINDS, default=KINDS[0])
    options = parser.parse_args()
    if options.command == "build":
        for what in options.what or ["image", *KINDS]:
            build(what)
    elif options.command == "shell":
        return shell(options.kind)
    elif options.command == "clean":
        for name in leftovers.remove_dead() + cache.remove_partial():
            print(f"removed {name}")
    elif options.command == "smoke":
        smoke(lambda: make(options.kind))
    return 0


if __name__ == "__main__":
    sys.exit(main())
