"""guardianctl plan: what saving the containers would come to, without touching them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from guardian.faces import table, worker_client
from guardian.faces.command import Command
from guardian.faces.jobs import Call, Status
from guardian.model.plan import drawn
from guardian.model.wording import printable


def add(command: Command) -> None:
    """Register the subcommand."""
    made = command("plan", _plan, "what saving containers would come to, without touching them")
    made.add_argument("containers", nargs="*", metavar="CONTAINER", help="all guarded ones that run")


def _plan(options: argparse.Namespace) -> int:
    found = worker_client.ask(worker_client.request(Call.PLAN, tuple(options.containers)), say=print)
    if found.error is not None:
        print(f"guardianctl: {printable(found.error[1])}", file=sys.stderr)
        return int(found.status)
    (made,) = found.results
    if options.json:
        print(json.dumps(made, indent=1))
    elif not made["containers"]:
        print("no guarded container runs")
    else:
        for line in lines(made):
            print(printable(line))
    return int(found.status) if made["containers"] else Status.DONE


def lines(made: Mapping[str, Any]) -> list[str]:
    """The plan for people."""
    shown = []
    for item in made["containers"]:
        verdict = "can be saved" if item["savable"] else "CANNOT be saved"
        cost = f", {table.size(item['size'])}, about {item['seconds']:.1f} s" if item["seconds"] else ""
        shown.append(f"{item['name']}: {verdict}{cost}")
        shown += [f"    {obstacle['what']}: {obstacle['cure']}" for obstacle in item["obstacles"]]
        if item["connections"] or item["lost"]:
            shown.append(f"    {item['lost'] or 'connections kept: ' + str(item['connections'])}")
    shown += ["", "saved together (frozen in this order):"]
    shown += [f"  {', '.join(group)}" for group in made["save"]]
    shown += ["", "resumed:", *(f"  {line}" for line in drawn(made["resume"])), ""]
    total = made["total"]
    shown.append(
        f"together: {total['savable']} of {total['wanted']} can be saved, {table.size(total['size'])} "
        f"({table.size(total['free'])} free), about {total['seconds']:.1f} s of {total['budget']:g} s, "
        f"{total['slots']} at a time"
    )
    if not total["fits_time"]:
        shown.append("  it does not fit into the time: raise the checkpoint's budget in guardian.toml")
    return [*shown, *made["notes"]]
