"""guardianctl snapshot, checkpoints, remove and verify: checkpoints by name."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable
from typing import Any

from guardian.faces import subject, table, worker_client
from guardian.faces.asking import job
from guardian.faces.jobs import MOST_NOTE, Call, Status
from guardian.model.errors import GuardianError
from guardian.work import checkpoints, verify

Command = Callable[[str, Any, str], argparse.ArgumentParser]
"""Registers a subcommand: its name, what runs it, and its meaning."""


def add(command: Command) -> None:
    """Register the subcommands."""
    made = command(
        "snapshot", _snapshot, "checkpoint containers and let them go on; never restored by itself"
    )
    made.add_argument("containers", nargs="*", metavar="CONTAINER", help="guarded or not; all guarded ones")
    made.add_argument("--note", default="", help="a sentence to find it by")
    made = command("checkpoints", _checkpoints, "the checkpoints that are there")
    made.add_argument("containers", nargs="*", metavar="CONTAINER")
    made = command("remove", _remove, "delete checkpoints; none that waits to be restored")
    made.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="web@2, or a beginning of its id")
    made = command("verify", _verify, "whether checkpoints are complete and unchanged")
    made.add_argument("checkpoints", nargs="*", metavar="CHECKPOINT", help="all that have images")


def _snapshot(options: argparse.Namespace) -> int:
    note = options.note[:MOST_NOTE]
    return job(worker_client.request(Call.SNAPSHOT, tuple(options.containers), note=note), options)


def _remove(options: argparse.Namespace) -> int:
    return job(worker_client.request(Call.REMOVE, tuple(options.checkpoints)), options)


def _checkpoints(options: argparse.Namespace) -> int:
    found = checkpoints.listed(subject.ledger(), options.containers)
    if options.json:
        print(json.dumps(found, indent=1))
        return Status.DONE
    rows = []
    for item in found:
        notes = [item["meaning"], "" if item["hashed"] else "unhashed", item["note"]]
        taken = datetime.datetime.fromtimestamp(item["taken"], datetime.UTC).astimezone()
        rows.append(
            (
                item["name"],
                item["kind"],
                taken.strftime("%Y-%m-%d %H:%M:%S"),
                table.size(item["size"]),
                item["state"],
                "; ".join(note for note in notes if note),
                item["id"],
            )
        )
    table.show(("NAME", "KIND", "TAKEN", "SIZE", "STATE", "NOTE", "ID"), rows)
    return Status.DONE


def _verify(options: argparse.Namespace) -> int:
    ledger = subject.ledger()
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
