"""A gate at a step: whoever has just reached it is kept standing, from outside of the host, while a fault strikes.

Each mark of a ledger is followed by an open of the ledger's folder (to fsync it), CRIU opens each of its images: the
kernel asks us first (fanotify(7), FAN_OPEN_PERM), and the process waits for the answer. Nothing of the product is
replaced and nothing is timed: the fault strikes when the name is there and before anything follows from it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_FAN_CLOEXEC, _FAN_NONBLOCK, _FAN_CLASS_PRE_CONTENT = 0x1, 0x2, 0x8
"""Only the last one may answer with an error of its choice (Linux 6.14 and newer)."""
_FAN_MARK_ADD, _FAN_MARK_FILESYSTEM = 0x1, 0x100
_FAN_OPEN_PERM, _FAN_ONDIR = 0x10000, 0x40000000
_FAN_ALLOW, _FAN_DENY, _ERROR_SHIFT = 0x1, 0x2, 24
_METADATA = struct.Struct("=IBBHQii")
_RESPONSE = struct.Struct("=iI")

CHECKPOINT = re.compile(r"/([0-9a-f]{64}/[^/]+)/(ledger$|img/.*)")
"""Of a path in a store: container and checkpoint, and what of it was opened."""

Wanted = Callable[[str, Path], bool]
"""Whether an open is the step: what was opened (`ledger`, `img/NAME`), and the checkpoint's ledger."""


def mark_is_there(name: str) -> Wanted:
    """The step at which a ledger has this mark."""
    return lambda what, ledger: what == "ledger" and os.path.lexists(ledger / name)


def image_is_opened(pattern: str, after: str) -> Wanted:
    """The step at which an image is opened once this mark is there."""
    return lambda what, ledger: (
        re.fullmatch(f"img/{pattern}", what) is not None and os.path.lexists(ledger / after)
    )


class Gate:
    """Keeps whoever reaches a step for the `number`th time (0: the first) standing until `open`.

    A checkpoint reaches a step once; one that had reached its end, or another step, before the gate was made does not
    count, unless the `old` ones are meant. Where it `hangs`, that step is all that stands, each time it comes again.
    """

    def __init__(
        self, store: Path, wanted: Wanted, number: int, *, old: bool = False, hangs: bool = False
    ) -> None:
        """`store` is the file system to look at, as seen from outside; raises OSError."""
        self._store = store
        self._wanted = wanted
        self._number = number
        self._hangs = hangs
        # Listed before we are asked, or we would have to answer ourselves.
        self._old = {
            f"{path.parent.parent.name}/{path.parent.name}"
            for path in store.glob("*/*/ledger")
            if not old or (path / "done").exists() or (path / "void").exists()
        }
        self._seen: set[str] = set()
        self._held: list[int] = []
        self.checkpoint = ""
        self._reached = threading.Event()
        self._group = _call(
            "fanotify_init", _FAN_CLOEXEC | _FAN_NONBLOCK | _FAN_CLASS_PRE_CONTENT, os.O_RDONLY
        )
        self._stop, self._stopped = os.pipe()
        _call(
            "fanotify_mark",
            self._group,
            _FAN_MARK_ADD | _FAN_MARK_FILESYSTEM,
            ctypes.c_uint64(_FAN_OPEN_PERM | _FAN_ONDIR),
            -100,
            ctypes.c_char_p(os.fsencode(store)),
        )
        self._thread = threading.Thread(target=self._answer, name="gate")
        self._thread.start()

    def reached(self, *, limit: float) -> bool:
        """Wait until somebody stands at the gate; False where nobody does within `limit` seconds."""
        return self._reached.wait(limit)

    def open(self, *, error: int = 0) -> None:
        """Let everybody through, now and from now on; who was held gets the `error`, if any. Can be repeated."""
        if self._stopped < 0:
            return
        for descriptor in self._held if error else []:
            os.write(self._group, _RESPONSE.pack(descriptor, _FAN_DENY | error << _ERROR_SHIFT))
        os.close(self._stopped)
        self._stopped = -1
        self._thread.join()
        os.close(self._stop)
        # What was not answered yet is allowed by that.
        os.close(self._group)
        for descriptor in self._held:
            os.close(descriptor)

    def _answer(self) -> None:
        while True:
            ready, _, _ = select.select([self._group, self._stop], [], [])
            if self._stop in ready:
                return
            # EIO: a file system that has failed, whose files cannot be opened for us; who asked is told no.
            with contextlib.suppress(OSError):
                for descriptor in _events(os.read(self._group, 65536)):
                    if self._is_it(descriptor):
                        self._held.append(descriptor)
                        self._reached.set()
                        continue
                    os.write(self._group, _RESPONSE.pack(descriptor, _FAN_ALLOW))
                    os.close(descriptor)

    def _is_it(self, descriptor: int) -> bool:
        found = CHECKPOINT.search(os.readlink(f"/proc/self/fd/{descriptor}"))
        if found is not None and found[1] == self.checkpoint:
            if self._hangs:
                return self._wanted(found[2], self._store / found[1] / "ledger")
            return found[2] == "ledger"  # a bystander may have been the first one
        if found is None or found[1] in self._old | self._seen or self._held:
            return False
        if not self._wanted(found[2], self._store / found[1] / "ledger"):
            return False
        self._seen.add(found[1])
        if len(self._seen) <= self._number:
            return False
        self.checkpoint = found[1]
        return True


def _events(data: bytes) -> Iterator[int]:
    while data:
        length, *_, descriptor, _pid = _METADATA.unpack_from(data)
        yield descriptor
        data = data[length:]


def _call(name: str, *arguments: object) -> int:
    status = int(getattr(_libc, name)(*arguments))
    if status < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return status
