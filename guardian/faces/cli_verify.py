"""guardianctl verify: whether checkpoints are complete and unchanged."""

from __future__ import annotations

import argparse
import json
import sys

from guardian.faces import store, table
from guardian.faces.command import Command
from guardian.faces.jobs import Status
from guardian.model.errors import GuardianError
from guardian.work import checkpoints, verify


def add(command: Command) -> None:
    """Register the subcommand."""
    made = command("verify", _verify, "whether checkpoints are complete and unchanged")
    made.add_argument("checkpoints", nargs="*", metavar="CHECKPOINT", help="all that have images")


def _verify(options: argparse.Namespace) -> int:
    ledger = store.ledger()
    if options.checkpoints:
        chosen = [checkpoints.find(ledger, name) for name in options.checkpoints]
    else:
        chosen = [item for item in checkpoints.known(ledger) if item.checkpoint.image_size()]
    found, bad = [], 0
    for item in chosen:
        try:
            verdict, wrong = verify.verify(item.checkpoint), ""
        except GuardianError as error:
            verdict, wrong = verify.Verdict.DAMAGED, str(error)
            bad += 1
        found.append(
            {"name": item.named.shown(), "id": item.checkpoint.id, "verdict": verdict.value, "wrong": wrong}
        )
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        table.show(
            ("NAME", "VERDICT", "WRONG"), [(item["name"], item["verdict"], item["wrong"]) for item in found]
        )
    if not found:
        print("guardianctl: there are no checkpoints with images", file=sys.stderr)
    if not bad:
        return Status.DONE
    return Status.FAILED if bad == len(found) else Status.PARTLY
