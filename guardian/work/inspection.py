"""Inspect: the facts of a checkpoint, with what looks like a secret masked unless it is asked for."""

from __future__ import annotations

import dataclasses
import syslog

from guardian.host.images.folder import Folder
from guardian.host.images.processes import inspect
from guardian.model import secrets
from guardian.model.inspection import Inspection, Process


def facts(folder: Folder, *, reveal: bool) -> Inspection:
    """Everything that the images say; raises BadImage. `reveal` is written into the system's log."""
    found = inspect(folder)
    if reveal:
        note_reveal(str(folder.path), "inspect")
        return found
    return masked(found)


def masked(found: Inspection) -> Inspection:
    """The same facts without secrets."""
    return dataclasses.replace(
        found,
        processes=tuple(_process(process) for process in found.processes),
        sockets=tuple(dataclasses.replace(item, head=secrets.masked(item.head)) for item in found.sockets),
        pipes=tuple(dataclasses.replace(item, head=secrets.masked(item.head)) for item in found.pipes),
    )


def _process(process: Process) -> Process:
    return dataclasses.replace(
        process,
        command_line=secrets.masked_arguments(process.command_line),
        environment=tuple(secrets.masked_assignment(item) for item in process.environment),
    )


def note_reveal(what: str, by: str) -> None:
    """Leave a trace of who asked for secrets, where an administrator looks for such things."""
    syslog.openlog("guardianctl", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, f"{by} --reveal of {what}")
