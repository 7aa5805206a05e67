"""What a command that looks into images is about: for now a folder of images, by its path."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from guardian.host.images.folder import BadImage, Folder


@contextlib.contextmanager
def open_images(subject: str) -> Iterator[Folder]:
    """The images that a subject names; raises BadImage."""
    path = Path(subject)
    if not path.is_dir():
        raise BadImage("there are no images", f"{subject} is no folder")
    yield Folder(path)
