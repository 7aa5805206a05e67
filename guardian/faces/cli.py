"""guardianctl: the command line.

Exit status: 0 done, 1 failed, 2 usage, 3 partly (some containers failed or came back cold), 4 refused.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from typing import Any

from guardian import __version__
from guardian.faces import table, worker_client
from guardian.faces.asking import job
from guardian.faces.command import pre_dump
from guardian.faces.jobs import Call, Status
from guardian.faces.worker_client import WorkerUnavailable
from guardian.host import containerd, paths, systemd
from guardian.model.errors import GuardianError
from guardian.model.wording import printable

_AT_ONCE = ("status", "list", "checkpoint", "restore", "release")
_LATER = {
    "cli_plan": ("plan",),
    "cli_checkpoints": ("snapshot", "checkpoints", "remove"),
    "cli_doctor": ("doctor",),
    "cli_verify": ("verify",),
    "cli_inspect": ("inspect",),
    "cli_memory": ("memory",),
    "cli_coredump": ("coredump",),
    "cli_archive": ("files", "export", "import"),
    "cli_migrate": ("migrate", "receive"),
    "cli_next_boot": ("next-boot",),
}
"""Modules that are imported when their commands are asked for, or help is: what reads images takes 0.1 s to import, and
must not stand in the way of the others where it is broken.
"""
_NAMES = {name for names in _LATER.values() for name in names}
_UNITS = ("guardian-worker", "guardian-checkpoint", "guardian-hold")


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    named = next((word for word in arguments if not word.startswith("-")), "")
    options = _parser(named).parse_args(arguments)
    try:
        return int(options.run(options))
    except WorkerUnavailable as error:
        print(f"guardianctl: {error}", file=sys.stderr)
        return Status.FAILED
    except GuardianError as error:
        print(f"guardianctl: {printable(str(error))}", file=sys.stderr)
        return Status.REFUSED
    except BrokenPipeError:
        return Status.FAILED  # whoever read it has seen enough
    except KeyboardInterrupt:
        goes_on = "no longer waiting; the work goes on (guardianctl list)"
        told = goes_on if named in (*_AT_ONCE, "snapshot", "remove") else "interrupted"
        print(f"guardianctl: {told}", file=sys.stderr)
        return Status.FAILED


def _parser(named: str) -> argparse.ArgumentParser:
    """The parser of all commands, or of `named` and those that are always there."""
    parser = argparse.ArgumentParser(prog="guardianctl", description=__doc__)
    parser.add_argument("--version", action="version", version=f"guardianctl {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.add_argument(
            "--json",
            action="store_true",
            help="machine-readable output (/usr/share/doc/docker-guardian/json.md)",
        )
        made.set_defaults(run=run)
        return made

    command("status", _status, "whether guardian does its work on this host")
    command("list", _list, "each guarded container: its state, whether it can be saved, and why not")
    made = command("checkpoint", _checkpoint, "checkpoint containers (all guarded ones that run)")
    made.add_argument("containers", nargs="*", metavar="CONTAINER")
    made.add_argument("--leave-running", action="store_true", help="the same as snapshot")
    pre_dump(made)
    made = command("restore", _restore, "restore containers (all that have a checkpoint and are down)")
    made.add_argument("containers", nargs="*", metavar="CONTAINER")
    made = command("release", _release, "end the hold of containers, without their checkpoint")
    made.add_argument("containers", nargs="+", metavar="CONTAINER")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--cold", action="store_true", help="start them anew (the default)")
    how.add_argument("--discard", action="store_true", help="leave them stopped")
    made.add_argument("--force", action="store_true", help="even where another host has the container")
    for module, names in _LATER.items():
        if named not in _AT_ONCE and (named in names or named not in _NAMES):
            importlib.import_module(f"guardian.faces.{module}").add(command)
    return parser


def _checkpoint(options: argparse.Namespace) -> int:
    call = Call.SNAPSHOT if options.leave_running else Call.CHECKPOINT
    line = worker_client.request(call, tuple(options.containers), pre_dump=options.pre_dump)
    return job(line, options)


def _restore(options: argparse.Namespace) -> int:
    return job(worker_client.request(Call.RESTORE, tuple(options.containers)), options)


def _release(options: argparse.Namespace) -> int:
    names = tuple(options.containers)
    return job(
        worker_client.request(Call.RELEASE, names, start=not options.discard, force=options.force), options
    )


def _list(options: argparse.Namespace) -> int:
    found = worker_client.ask(worker_client.request(Call.LIST), say=print)
    if options.json:
        print(json.dumps(found.results, indent=1))
        return int(found.status)
    rows = [_row(item) for item in found.results]
    table.show(("NAME", "STATE", "CAN BE SAVED", "LAST", "NOTE"), rows)
    return int(found.status)


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    last = item["last"]
    shown = ""
    if last is not None:
        shown = last["outcome"] + (f" in {last['seconds']:.1f} s" if last["seconds"] else "")
    notes = [*item["reasons"], *item["problems"]]
    if last is not None and last["reason"]:
        notes.append(f"last: {last['reason']}")
    savable = "yes" if item["savable"] else ("-" if item["state"] in ("stopped", "held") else "no")
    return item["name"], item["state"], savable, shown, "; ".join(notes)


def _status(options: argparse.Namespace) -> int:
    """Units and the front: whether the next shutdown would be served."""
    units = {unit: systemd.active_state(f"{unit}.service") for unit in _UNITS}
    missing = "" if paths.FRONT_FOLDER.joinpath("runc").exists() else "the front was not put there"
    missing = missing or containerd.without_front()
    in_path = not missing
    found = worker_client.ask(worker_client.request(Call.LIST), say=print)
    counts: dict[str, int] = {}
    for item in found.results:
        counts[item["state"]] = counts.get(item["state"], 0) + 1
    good = in_path and all(state == "active" for state in units.values())
    if options.json:
        shown = {"version": __version__, "units": units, "runtime_in_path": in_path, "containers": counts}
        print(json.dumps(shown, indent=1))
    else:
        for unit, state in units.items():
            print(f"{unit:20} {state}")
        print(f"{'runtime in the path':20} {missing or 'yes'}")
        print(f"{'guarded containers':20} {', '.join(f'{n} {s}' for s, n in counts.items()) or 'none'}")
    return Status.DONE if good else Status.FAILED
