"""guardianctl next-boot: one boot that starts containers cold, chosen before."""

from __future__ import annotations

import argparse
import json

from guardian.faces import worker_client
from guardian.faces.command import Command
from guardian.faces.jobs import Call, Status
from guardian.host import gate, next_boot, paths
from guardian.model.errors import GuardianError, UnknownContainer


def add(command: Command) -> None:
    """Register the subcommand."""
    made = command(
        "next-boot", _next_boot, "whether the next boot starts containers cold, once; says or sets it"
    )
    made.add_argument("how", nargs="?", choices=("cold", "resume"), help="cold, or resume to take that back")
    made.add_argument(
        "containers", nargs="*", metavar="CONTAINER", help="all guarded ones where none is named"
    )


def _next_boot(options: argparse.Namespace) -> int:
    guarded = worker_client.ask(worker_client.request(Call.LIST), say=print).results
    names = {str(item["id"]): str(item["name"]) for item in guarded}
    chosen = [_named(names, word) for word in options.containers] or [next_boot.ALL]
    try:
        if options.how == "cold":
            next_boot.set_cold(chosen)
        elif options.how == "resume":
            if next_boot.ALL not in chosen and (paths.NEXT_BOOT / next_boot.ALL).exists():
                raise GuardianError("the whole next boot is cold", hint="guardianctl next-boot resume")
            next_boot.forget(chosen)
    except OSError as error:
        raise GuardianError("the choice cannot be written down", str(error)) from error
    marks = gate.names(paths.NEXT_BOOT)
    everything = next_boot.ALL in marks
    cold = sorted(name for key, name in names.items() if everything or key in marks)
    if options.json:
        print(json.dumps({"all": everything, "cold": cold}, indent=1))
    elif everything:
        print("at the next boot all guarded containers start cold")
    else:
        print(f"at the next boot start cold: {', '.join(cold) or 'none'}")
    return Status.DONE


def _named(names: dict[str, str], word: str) -> str:
    """The id of a guarded container; raises UnknownContainer."""
    found = [key for key, name in names.items() if word in (name, key)]
    found = found or [key for key in names if len(word) >= 4 and key.startswith(word)]
    if len(found) != 1:
        raise UnknownContainer(f"there is no guarded container {word!r}", hint="guardianctl list")
    return found[0]
