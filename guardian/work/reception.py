"""Reception: what a move or an import has made here, written down beforehand, so that it can be taken back.

STORE/.arrivals/MOVE/ has `made.json`, a list of [kind, name], and `voted` from the moment on when the source may
commit: then nothing of it is taken back without the source's word. Whoever receives holds the lock `lock`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from guardian.host import durable, erasure, gate
from guardian.host.docker_arrivals import Arrivals
from guardian.host.ledger import remove
from guardian.model import json_text
from guardian.model.errors import Busy, GuardianError, UnknownContainer
from guardian.model.move import move_id
from guardian.model.states import Verdict
from guardian.work.host import Host

log = logging.getLogger("guardian.move")

_ARRIVALS = ".arrivals"
_SWEPT = 2.0
_DOWN_LIMIT = 20.0
_LOOK_AGAIN = 0.05
_NEVER = "0001-01-01"
"""How Docker's State.StartedAt begins where a container was never started."""


class Reception:
    """One move or import that comes here."""

    def __init__(self, host: Host, move: str) -> None:
        self._host = host
        self.folder = host.ledger.store / _ARRIVALS / move_id(move)
        self._made: list[list[str]] = []

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Be the one who receives it; raises Busy where somebody else is."""
        with self._locked():
            self._made = self.noted()
            try:
                yield
            finally:
                if not self._made and not self.voted:
                    self.forget()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock of a folder that is there: a sweep may hold it for a moment, and then remove it with the folder."""
        end = time.monotonic() + _SWEPT
        while True:
            lock = self._lock_file()
            if lock is not None:
                with lock:
                    if _taken(lock) and _is_there(lock):
                        yield
                        return
            if time.monotonic() > end:
                raise Busy("this move is under way already")
            time.sleep(_LOOK_AGAIN)  # a lock that is let go tells nobody who does not wait for it

    def _lock_file(self) -> IO[str] | None:
        """The lock, not taken yet; None where the folder was removed this very moment."""
        try:
            durable.private_folder(self.folder)
            durable.sync_folder(self.folder.parent)
            return (self.folder / "lock").open("w")
        except FileNotFoundError:
            return None

    @property
    def staging(self) -> Path:
        """Where what arrives lies until it has its place."""
        return self.folder / "staging"

    def intend(self, kind: str, name: str) -> None:
        """About to make a `network`, a `volume`, a `container`, or to `rename` (`ID NAME`) what is in the way."""
        self._made.append([kind, name])
        durable.write(self.folder / "made.json", json.dumps(self._made) + "\n")

    def vote(self) -> None:
        """From now on the source may give the containers up."""
        durable.write(self.folder / "voted", "format=1\n")

    @property
    def voted(self) -> bool:
        """Whether the source may have given them up."""
        return (self.folder / "voted").exists()

    def take_back(self, engine: Arrivals) -> None:
        """Remove what was made here, the latest first; what cannot be removed is left, and logged."""
        for kind, name in reversed(self._made):
            try:
                _TAKE_BACK[kind](self._host, engine, name)
            except UnknownContainer:
                continue
            except (GuardianError, OSError, KeyError) as error:
                log.warning("the %s %s of a move that came to nothing is left: %s", kind, name, error)
        self._made = []
        self.forget()

    def finish(self, engine: Arrivals) -> None:
        """The containers run here: what they replaced goes."""
        for kind, name in self._made:
            if kind == "rename":
                with contextlib.suppress(GuardianError):
                    engine.remove(name.split()[0])
        self.forget()

    def forget(self) -> None:
        """Nothing is open any more: what was made stays."""
        self._made = []
        erasure.away(self.folder, self._host.ledger.store, overwrite=self._host.config.erase)
        with contextlib.suppress(OSError):  # others are there
            self.folder.parent.rmdir()

    def noted(self) -> list[list[str]]:
        """What is written down of what was made: kind and name of each."""
        try:
            return [
                [str(kind), str(name)]
                for kind, name in json_text.loads((self.folder / "made.json").read_text())
            ]
        except (OSError, ValueError):
            return []


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_there(lock: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name))
    except FileNotFoundError:
        return False


def expects(host: Host, container_id: str) -> bool:
    """Whether a container was made for a move that is under way: it is empty yet, and must not be started."""
    folder = host.ledger.store / _ARRIVALS
    for name in sorted(path.name for path in folder.glob("*")):
        with contextlib.suppress(GuardianError):
            if ["container", container_id] in Reception(host, name).noted():
                return True
    return False


def _remove_container(host: Host, engine: Arrivals, container_id: str) -> None:
    """Never one that ran: then it is the user's. A start that was to restore it and failed leaves a time as well.

    After such a start dockerd makes an attempt of its own, by the restart policy, which the hold refuses; meanwhile it
    says that the container runs, and removes nothing.
    """
    end = time.monotonic() + _DOWN_LIMIT
    while True:
        try:
            engine.wait_until_down(container_id, limit=_DOWN_LIMIT)
            state = engine.inspection(container_id)["State"]
            if state.get("Running") or not _never_ran(
                host, container_id, str(state.get("StartedAt") or _NEVER)
            ):
                raise GuardianError(f"{container_id[:12]} was started meanwhile")
            engine.remove(container_id)
        except UnknownContainer:
            break
        except GuardianError:
            if time.monotonic() > end:
                raise
            time.sleep(_LOOK_AGAIN)  # dockerd does not say when its attempt is over
        else:
            break
    gate.lift(container_id)
    for checkpoint in host.ledger.of(container_id):
        remove(checkpoint)


def _never_ran(host: Host, container_id: str, started_at: str) -> bool:
    known = host.ledger.of(container_id)
    tried = bool(known) and all(item.intact() or item.verdict() is not Verdict.COMMIT for item in known)
    return tried or started_at.startswith(_NEVER)


def _rename_back(_host: Host, engine: Arrivals, name: str) -> None:
    container_id, old = name.split()
    engine.rename(container_id, old)


_TAKE_BACK = {
    "container": _remove_container,
    "network": lambda _host, engine, name: engine.remove_network(name),
    "volume": lambda _host, engine, name: engine.remove_volume(name),
    "rename": _rename_back,
}


def sweep(host: Host) -> None:
    """Take back what moves have left that ended in the middle, before the source could give anything up."""
    folder = host.ledger.store / _ARRIVALS
    for name in sorted(path.name for path in folder.glob("*")):
        try:
            reception = Reception(host, name)
            with reception.open(), contextlib.closing(Arrivals()) as engine:
                if not reception.voted:
                    reception.take_back(engine)
                elif not any(item.elsewhere() for item in host.ledger.travelling(name)):
                    reception.finish(engine)
        except Busy:
            continue
        except (GuardianError, OSError) as error:
            log.warning("a move that ended in the middle: %s", error)
