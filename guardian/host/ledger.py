"""The ledger: one folder for each checkpoint, one small durable file for each state reached.

Layout of a checkpoint, STORE/CONTAINER-ID/CHECKPOINT-ID/:

    format          "1"; an unknown one is left alone
    purpose         "suspend" or "snapshot"
    record.json     the container's facts, when and in which boot it was taken
    ledger/STATE    one file for each state reached; `verdict` holds "commit" or "void"
    img/            CRIU's images; work/, work-restore/: CRIU's logs
    img/pre-N/      memory that was written ahead (model/steps.py), work/pre-N/: its logs
    ahead           how many of these steps the dump builds upon
    dump.conf, script, tasks, proof, word.commit, word.void, mark: for runtime/commit.c
    connections.json                        its TCP connections
    held-files.json the files outside of it that its processes have open or mapped
    notes, result.spare                     written over where the disk is full
    remarks         sentences to be said when it is restored
    layer, container.json                   where its writable layer is, and how `docker inspect` shows it
    rootfs-diff.tar, deleted.files          a snapshot's writable layer
    cpu             the processor it was taken on, as CRIU describes it, in hex
    origin          the id it had elsewhere, where it was imported
    result.json     what became of it, once that is known
    manifest.json   length and SHA-256 of each file that matters, once they are known
    ledger/departing    its commit gives the container to another host: which move, which host
    arrival         it came from another host: which move, which host, and for runtime/commit.c where to ask

STORE/.encryption says under which key images are encrypted, STORE/.erased has what is to be overwritten and removed.
STORE/.moves/MOVE/ has the `verdict` of a move, one for all its members, where this host is the source.

STORE/CONTAINER-ID/.last-number is the number of its last checkpoint.

C (runtime/commit.c) and /bin/sh (guardian-hold, guardian-emergency) write to it as well: nothing here may need a lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from guardian.host import durable, encryption, erasure, mounts, numbering, spare
from guardian.host.checkpoint import CLOSED, MOVES, NOTES, PREPARED, SPARE_RESULT, Checkpoint
from guardian.host.record import Record
from guardian.model.container import Container, is_container_id
from guardian.model.errors import GuardianError, StoreError
from guardian.model.states import (
    FORMAT,
    Purpose,
    State,
    Verdict,
)

log = logging.getLogger("guardian.ledger")


class Ledger:
    """All checkpoints of the store."""

    def __init__(self, store: Path, *, encrypted: bool = False) -> None:
        self.store = store
        self._encrypted = encrypted

    def make_images(self, folder: Path) -> None:
        """Make a folder for images, encrypted where they have to be; raises OSError and StoreError."""
        folder.mkdir(mode=0o700)
        if self._encrypted:
            encryption.protect(folder, self.store)

    def begin(self, record: Record, *, images: bool = True) -> Checkpoint:
        """Make the folder of a new checkpoint, durable, numbered and without a mark; raises StoreError.

        Without `images` it only tells what became of the container, and needs no key.
        """
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(record.taken))
        name = f"{stamp}{int(record.taken * 1000) % 1000:03}-{secrets.token_hex(3)}"
        folder = self.store / record.container.id / name
        try:
            for part in (folder / "ledger", folder / "work"):
                durable.private_folder(part)
            if images:
                self.make_images(folder / "img")
            record = dataclasses.replace(record, number=numbering.following(folder.parent))
            for word in Verdict:
                durable.write(folder / f"word.{word.value}", f"{word.value}\n")
            durable.write(folder / PREPARED, f"format={FORMAT}\n")
            for name in (NOTES, SPARE_RESULT):
                spare.prepare(folder / name)
            durable.write(folder / "purpose", f"{record.purpose.value}\n")
            durable.write(folder / "record.json", json.dumps(record.to_json(), indent=1) + "\n")
            durable.write(folder / "format", f"{FORMAT}\n")
            durable.sync_folder(folder.parent)
            durable.sync_folder(self.store)
        except (OSError, StoreError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, StoreError):
                raise
            raise StoreError(
                "the store cannot be written", str(error), hint=f"look at {self.store}"
            ) from error
        return Checkpoint(folder)

    def of(self, container_id: str) -> list[Checkpoint]:
        """The container's checkpoints, oldest first; raises StoreError."""
        folder = self.store / container_id
        return [Checkpoint(folder / name) for name in self._listed(folder) if (folder / name).is_dir()]

    def all(self) -> Iterator[Checkpoint]:
        """Every checkpoint of the store; raises StoreError where it cannot be read."""
        for name in self._listed(self.store):
            if not is_container_id(name):
                continue
            try:
                yield from self.of(name)
            except StoreError as error:
                log.error("%s", error)

    def _listed(self, folder: Path) -> list[str]:
        """What is in a folder of the store, in order; nothing where it is not there."""
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0:
                raise StoreError("the store cannot be read", "only root may") from error
            raise StoreError("the store cannot be read", str(error), hint=f"look at {self.store}") from error

    def pending(self, container_id: str) -> Checkpoint | None:
        """The newest checkpoint that may be restored."""
        return next((item for item in reversed(self.of(container_id)) if item.restorable()), None)

    def waiting(self) -> list[Container]:
        """The containers that wait to be restored, as they were; for the time when dockerd cannot be asked."""
        found = {}
        for checkpoint in self.all():
            if checkpoint.restorable():
                with contextlib.suppress(GuardianError):
                    found[checkpoint.container_id] = checkpoint.record().container
        return [dataclasses.replace(container, running=False) for container in found.values()]

    def elsewhere(self, container_id: str) -> Checkpoint | None:
        """The newest checkpoint made to be resumed, where it says that another host has the container, or may."""
        for item in reversed(self.of(container_id)):
            if item.purpose() is Purpose.SUSPEND and item.state() is not State.VOID:
                return item if item.elsewhere() else None
        return None

    def travelling(self, move: str) -> list[Checkpoint]:
        """The checkpoints that depart or came with a move."""
        return [item for item in self.all() if (found := item.travel()) is not None and found.move == move]

    def closed_moves(self) -> list[Path]:
        """The folders of the moves from here whose other host knows what was decided."""
        return [path.parent for path in sorted((self.store / MOVES).glob(f"*/{CLOSED}"))]

    def size(self) -> int:
        """Bytes of all images."""
        return sum(checkpoint.image_size() for checkpoint in self.all())


def remove(checkpoint: Checkpoint) -> None:
    """Delete a checkpoint that is not needed."""
    mounts.detach_work(checkpoint.folder)
    erasure.put_aside(checkpoint.folder, checkpoint.folder.parent.parent)
