"""Which kernels which CRIU copes with, and what `criu check` says."""

from __future__ import annotations

import re

_BEGINNING = re.compile(r"(\d+)\.(\d+)")
_ERROR = re.compile(r"Error \([^)]*\): *(.*)")
_HARMLESS = "RLIMIT_NOFILE for self"
_UNKNOWN = "Unknown feature"
_NEW_KERNEL = (6, 16)
_NEW_CRIU = (4, 2)


def release(text: str) -> tuple[int, int]:
    """Major and minor version of a kernel's release ("6.12.57+deb13-amd64"); raises ValueError for anything else."""
    found = _BEGINNING.match(text)
    if found is None:
        raise ValueError(f"{text[:80]!r} is no kernel release")
    return int(found[1]), int(found[2])


def too_new(kernel: tuple[int, int], criu: tuple[int, ...]) -> bool:
    """Whether this CRIU is known to fail on this kernel: from 6.16 on TCP sockets have no SO_PASSCRED."""
    return kernel >= _NEW_KERNEL and criu < _NEW_CRIU


def errors(said: str) -> list[str]:
    """The errors in what `criu check` says, without places in CRIU's source."""
    return [
        found[1] for line in said.splitlines() if (found := _ERROR.search(line)) and _HARMLESS not in line
    ]


def is_unknown(said: str) -> bool:
    """Whether this CRIU has not heard of the feature that it was asked for."""
    return _UNKNOWN in said
