"""What a command that looks into images is about: for now a folder of images, by its path."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from guardian.faces.jobs import Status
from guardian.host.images.folder import BadImage, Folder
from guardian.model.errors import BadInput, GuardianError
from guardian.model.wording import printable

USAGE = 2


@contextlib.contextmanager
def open_images(subject: str) -> Iterator[Folder]:
    """The images that a subject names; raises BadImage."""
    path = Path(subject)
    if not path.is_dir():
        raise BadImage("there are no images", f"{subject} is no folder")
    yield Folder(path)


def guarded(options: argparse.Namespace, run: Callable[[argparse.Namespace, Folder], int]) -> int:
    """Run a command on the images of its subject; errors become a line and a status."""
    try:
        with open_images(options.subject) as folder:
            status = run(options, folder)
            sys.stdout.flush()
            return status
    except BadImage as error:
        return _failed(error, Status.REFUSED)
    except BadInput as error:
        return _failed(error, USAGE)
    except GuardianError as error:
        return _failed(error, Status.FAILED)
    except BrokenPipeError:
        # Whoever read the output has had enough; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.FAILED


def _failed(error: GuardianError, status: int) -> int:
    print(f"guardianctl: {printable(error.text())}", file=sys.stderr)
    return int(status)
