"""The images of a container's namespaces: whether they are whole, which CRIU does not find out itself.

CRIU writes them in children (criu/namespaces.c, dump_namespaces) and through a buffer that is flushed when an image is
closed (criu/bfd.c, bclose). That a flush failed, on a full disk, is noted in a variable of the child's and looked at in
the parent (bfd_flush_images): the dump succeeds and its restore fails of an "Unexpected EOF" (make test-faults:
verdict / full).
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

_WRITTEN_BY_CHILDREN = re.compile(r"(?:utsns|ipcns-\w+|timens|netns)-\d+\.img")
_MESSAGES_ALONE = re.compile(r"(?:utsns|ipcns-var|timens|netns)-\d+\.img")
"""Those that are nothing but messages, each behind its length; the others have contents between them."""
_MAGIC = 8
_LENGTH = struct.Struct("<I")


def first_broken(folder: Path) -> str:
    """The name of an image that ends too early; empty where none does. Raises OSError."""
    for path in sorted(folder.iterdir()):
        if _WRITTEN_BY_CHILDREN.fullmatch(path.name):
            data = path.read_bytes()
            if len(data) < _MAGIC or (_MESSAGES_ALONE.fullmatch(path.name) and not _is_whole(data)):
                return path.name
    return ""


def _is_whole(data: bytes) -> bool:
    """Whether messages fill it up to its end; there is at least one."""
    place = _MAGIC
    while place + _LENGTH.size <= len(data):
        place += _LENGTH.size + _LENGTH.unpack_from(data, place)[0]
    return place == len(data) and place > _MAGIC
