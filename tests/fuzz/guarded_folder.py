"""A folder in a folder: whatever is written beside it, or anywhere else, is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_PATHS: Mapping[str, Sequence[tuple[int, int]]] = {
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.truncate": ((0, -1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "shutil.rmtree": ((0, -1),),
}
"""Events of Python's that change files: which of their arguments are paths, and the open folder each starts from."""
_NEVER = ("os.system", "os.exec", "socket.connect", "socket.bind", "ctypes.dlopen", "os.mount")


class GuardedFolder:
    """`inside` is where writing is allowed; around it lie files that nobody may touch, and the working folder.

    Two nets: Python's audit events while `watching`, and the files around it, which are looked at afterwards.
    """

    def __init__(self, around: Path) -> None:
        self.around = around
        self.inside = around / "inside"
        self.inside.mkdir(mode=0o700)
        (around / "canary").write_bytes(b"nobody writes here\n")
        (around / "folder").mkdir()
        os.chdir(around / "folder")
        self.watching = False
        self.found: list[str] = []
        self._before = self._seen()
        sys.addaudithook(self._event)

    def problems(self) -> list[str]:
        """What was done outside, and what is left inside."""
        found, self.found = self.found, []
        if self._seen() != self._before:
            found.append(f"the files around it are not what they were: {self._seen()}")
        left = os.listdir(self.inside)
        return [*found, *(f"{name} was left" for name in left)]

    def _seen(self) -> list[tuple[str, int, int, int, int]]:
        found = []
        for path in (self.around, self.around / "canary", self.around / "folder"):
            state = path.lstat()
            found.append((path.name, state.st_ino, state.st_nlink, state.st_size, state.st_mtime_ns))
        return found

    def _event(self, event: str, arguments: Sequence[Any]) -> None:
        if not self.watching:
            return
        if event == "open":
            if int(arguments[2] or 0) & _WRITING:
                self._path(event, arguments[0])
        elif event in _PATHS:
            for place, folder in _PATHS[event]:
                self._path(event, arguments[place], arguments[folder] if folder >= 0 else -1)
        elif event in _NEVER or (event == "subprocess.Popen" and arguments[0] != "zstd"):
            self.found.append(f"{event} {arguments[:2]}")

    def _path(self, event: str, path: Any, folder: int = -1) -> None:
        if isinstance(path, int):
            return
        name = os.fsdecode(path)
        if not name.startswith("/"):
            if folder < 0:
                return  # in the working folder, which is looked at, or in one that was opened: `open` does not say
            name = f"{os.readlink(f'/proc/self/fd/{folder}')}/{name}"
        place = os.path.normpath(name)
        if place != str(self.inside) and not place.startswith(f"{self.inside}/"):
            self.found.append(f"{event} {place}")
