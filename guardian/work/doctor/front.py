"""The front: whether what containerd starts passes it."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import containerd, paths
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_WHY = "containers that are started now pass by guardian: they can be neither saved nor restored"


def look(_host: Host) -> Iterator[Finding]:
    """The file, and the environment of the containerd that runs."""
    placed, shipped = paths.FRONT_FOLDER / "runc", paths.LIBEXEC / "front"
    if not placed.exists():
        yield Finding(
            "front",
            Severity.ERROR,
            f"{placed} is not there",
            _WHY,
            "apt install --reinstall docker-guardian says whether the front answers as runc does",
        )
        return
    if placed.read_bytes() != shipped.read_bytes():
        yield Finding(
            "front",
            Severity.WARNING,
            f"{placed} is not the front of this package",
            "it may not know what this version writes",
            "dpkg-reconfigure docker-guardian",
        )
    missing = containerd.without_front()
    if missing:
        yield Finding(
            "front", Severity.ERROR, missing, _WHY, "systemctl restart containerd (containers live on)"
        )
