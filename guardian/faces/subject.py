"""What a command is about: a checkpoint by its name, or a container, of which a snapshot is taken for the moment."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from guardian.faces import worker_client
from guardian.faces.jobs import Call, Status
from guardian.faces.store import ledger
from guardian.host.images.folder import BadImage, Folder
from guardian.model.errors import BadInput, GuardianError, NoCheckpoint
from guardian.model.wording import printable
from guardian.work import checkpoints
from guardian.work.checkpoints import Known

_USAGE = 2


@contextlib.contextmanager
def opened(name: str) -> Iterator[Known]:
    """The checkpoint that is meant, for as long as it is looked at.

    The name of a container that runs means the container as it is now: a snapshot is taken, and removed at the end.
    Raises NoCheckpoint, or what refused the snapshot.
    """
    there = ledger()
    if "@" not in name and _runs(name):
        taken = _take(name)
        try:
            yield checkpoints.find(there, taken)
        finally:
            worker_client.ask(worker_client.request(Call.REMOVE, (taken,)), say=_ignore)
    else:
        yield checkpoints.find(there, name)


@contextlib.contextmanager
def images(name: str) -> Iterator[Folder]:
    """The images of the checkpoint that is meant; a path of a folder (with a slash in it) means that folder."""
    with looked_into(name) as (folder, _):
        yield folder


@contextlib.contextmanager
def looked_into(name: str) -> Iterator[tuple[Folder, Known | None]]:
    """The same with the checkpoint that they are of; None for a folder."""
    if "/" in name.removeprefix("/") or name.startswith("."):
        yield Folder(Path(name)), None
        return
    with opened(name) as found:
        folder = Folder(found.checkpoint.folder / "img")
        if not folder.has("inventory.img"):
            raise NoCheckpoint(
                f"{found.named.shown()} has no images any more", checkpoints.meaning(found.checkpoint)
            )
        yield folder, found


def guarded(options: argparse.Namespace, run: Callable[[argparse.Namespace, Folder], int]) -> int:
    """Run a command on the images of `options.subject`; returns its status, 2 for bad input, 4 for bad images."""
    try:
        with images(options.subject) as folder:
            status = run(options, folder)
            sys.stdout.flush()
            return status
    except BadImage:
        raise
    except BadInput as error:
        print(f"guardianctl: {printable(error.text())}", file=sys.stderr)
        return _USAGE
    except BrokenPipeError:
        # Whoever read the output has had enough; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.FAILED


def _runs(name: str) -> bool:
    """Whether it is the name or id of a container that runs; no more is asked of dockerd than its list."""
    found = worker_client.ask(worker_client.request(Call.FIND, (name,)), say=_ignore)
    return any(item["running"] for item in found.results)


def _take(name: str) -> str:
    line = worker_client.request(Call.SNAPSHOT, (name,), note="taken to be looked into; may be removed")
    found = worker_client.ask(line, say=lambda text: print(text, file=sys.stderr, flush=True))
    if found.error is not None:
        raise GuardianError(found.error[1])
    if found.status is not Status.DONE:
        raise GuardianError(f"{name} could not be snapshotted", str(found.results[0]["reason"]))
    return str(found.results[0]["checkpoint"])


def _ignore(_: str) -> None:
    """Nobody needs to know."""
