"""How a command asks the worker for a job, and shows how it goes."""

from __future__ import annotations

import argparse
import json
import sys

from guardian.faces import worker_client
from guardian.faces.worker_client import Answer
from guardian.model.errors import GuardianError


def job(line: bytes, options: argparse.Namespace) -> int:
    """Ask, show progress (on standard error where the output is JSON), return the status."""
    progress = sys.stderr if options.json else sys.stdout
    found = worker_client.ask(line, say=lambda text: print(text, file=progress, flush=True))
    if options.json:
        print(json.dumps({"results": found.results, "error": _error(found)}, indent=1))
    if found.error is not None:
        print(f"guardianctl: {found.error[1]}", file=sys.stderr)
    elif not found.results and not options.json:
        print("nothing to do")
    return int(found.status)


def tell(error: Exception, *, json_wanted: bool) -> None:
    """What broke a command off, for a program that reads its output."""
    if json_wanted:
        name = error.name if isinstance(error, GuardianError) else GuardianError.name
        print(json.dumps({"results": [], "error": {"name": name, "text": str(error)}}, indent=1), flush=True)


def _error(found: Answer) -> dict[str, str] | None:
    return None if found.error is None else {"name": found.error[0], "text": found.error[1]}
