"""What is mounted below a folder: a killed CRIU leaves cgroup hierarchies in its working folder."""

from __future__ import annotations

from pathlib import Path

from guardian.host.command import run

_LIMIT = 10.0


def below(folder: Path) -> list[Path]:
    """The places below a folder where something is mounted, the deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = Path(line.split()[4].replace("\\040", " "))
        if folder in place.parents:
            found.append(place)
    return sorted(found, key=lambda place: len(place.parts), reverse=True)


def detach_below(folder: Path) -> None:
    """Unmount everything below a folder, before anybody removes what is in it. Raises CommandFailed at its limit."""
    for place in below(folder.resolve()):
        run(["umount", "--lazy", str(place)], limit=_LIMIT, check=False)
