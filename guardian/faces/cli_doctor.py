"""guardianctl doctor: what is wrong with this host, why it matters, how to mend it.

Exit status: 0 nothing, or notes only; 3 warnings; 1 errors.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator

from guardian.faces.command import Command
from guardian.faces.configuration import load_config
from guardian.faces.jobs import Status
from guardian.host import paths
from guardian.model.config import defaults
from guardian.model.errors import BadInput, GuardianError
from guardian.model.finding import Finding, Severity, worst
from guardian.model.wording import printable
from guardian.work.doctor import examine
from guardian.work.doctor.checks import CHECKS
from guardian.work.host import Host

_STATUS = {None: Status.DONE, Severity.NOTE: Status.DONE, Severity.WARNING: Status.PARTLY}


def add(command: Command) -> None:
    """Register the subcommand."""
    command("doctor", _doctor, "what is wrong with this host, why it matters, how to mend it")


def _doctor(options: argparse.Namespace) -> int:
    if os.geteuid() != 0:
        raise GuardianError("guardianctl doctor needs root", "it looks at processes of root's, and runs CRIU")
    found = list(_findings())
    if options.json:
        shown = {
            "findings": [finding.to_json() for finding in found],
            "looked_at": _looked_at(),
        }
        print(json.dumps(shown, indent=1))
    else:
        _show(found)
    return _STATUS.get(worst(found), Status.FAILED)


def _looked_at() -> list[str]:
    return ["configuration", *map(examine.name, CHECKS)]


def _findings() -> Iterator[Finding]:
    """Everything; where the configuration does not parse, with the defaults."""
    try:
        config = load_config()
    except BadInput as error:
        config = defaults()
        yield Finding(
            "configuration",
            Severity.ERROR,
            str(error),
            "the worker does not start with it: nothing is saved, nothing is restored",
            f"mend {paths.CONFIGURATION}; an empty file is all defaults",
        )
    yield from examine.examine(Host.of(config), CHECKS)


def _show(found: list[Finding]) -> None:
    """The worst first, each as a paragraph."""
    for severity in Severity:
        for finding in found:
            if finding.severity is severity:
                print(f"{severity.value}: {finding.name}: {printable(finding.what)}")
                print(f"    why:  {printable(finding.why)}")
                print(f"    cure: {printable(finding.cure)}\n")
    counts = [(sum(item.severity is each for item in found), each.value) for each in Severity]
    told = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count)
    print(f"{len(_looked_at())} things looked at: {told or 'nothing is wrong'}")
