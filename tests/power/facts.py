"""What is known of a recording, and what is seen of a cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Image:
    """What a whole image is: digest of each file; and the memory in it: which process, which step."""

    files: Mapping[str, str]
    process: str
    step: int


@dataclasses.dataclass(frozen=True)
class Recording:
    """What was recorded, beside the log: the container's id and each checkpoint's image."""

    container_id: str
    images: Mapping[str, Image]


@dataclasses.dataclass(frozen=True)
class Look:
    """What looker.py says of a cut disk.

    `held` by the hold script; `pending`, the ledger's checkpoint that may be restored; whether guardian would restore
    it (`waits`), and what it would find changed outside all the same (`stale`); the newest checkpoint and its state;
    the digests of the pending image; process and step of each file of the volume.
    """

    held: bool
    pending: str
    waits: bool
    stale: str
    newest: str
    state: str
    image: Mapping[str, str]
    steps: Mapping[str, tuple[str, int]]
