"""guardianctl snapshot, checkpoints and remove: checkpoints by name."""

from __future__ import annotations

import argparse
import datetime
import json

from guardian.faces import store, table, worker_client
from guardian.faces.asking import job
from guardian.faces.command import Command, pre_dump
from guardian.faces.jobs import MOST_NOTE, Call, Status
from guardian.work import checkpoints


def add(command: Command) -> None:
    """Register the subcommands."""
    made = command(
        "snapshot", _snapshot, "checkpoint containers and let them go on; never restored by itself"
    )
    made.add_argument("containers", nargs="*", metavar="CONTAINER", help="guarded or not; all guarded ones")
    made.add_argument("--note", default="", help="a sentence to find it by")
    pre_dump(made)
    made = command("checkpoints", _checkpoints, "the checkpoints that are there")
    made.add_argument("containers", nargs="*", metavar="CONTAINER")
    made = command("remove", _remove, "delete checkpoints; none that waits to be restored")
    made.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="web@2, or a beginning of its id")


def _snapshot(options: argparse.Namespace) -> int:
    note = options.note[:MOST_NOTE]
    line = worker_client.request(
        Call.SNAPSHOT, tuple(options.containers), note=note, pre_dump=options.pre_dump
    )
    return job(line, options)


def _remove(options: argparse.Namespace) -> int:
    return job(worker_client.request(Call.REMOVE, tuple(options.checkpoints)), options)


def _checkpoints(options: argparse.Namespace) -> int:
    found = checkpoints.listed(store.ledger(), options.containers)
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
