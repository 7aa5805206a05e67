"""The disk of a served host: three partitions, so that no journal takes another one's along."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Part:
    """One partition: the file that serves it, where it begins and ends (bytes), where the host has it mounted."""

    name: str
    begin: int
    end: int
    mounted: Path

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.begin


HOST = Part("host.img", 0, 8 << 30, Path())
"""The host's root, dockerd's files too; as long as the image that hosts are cloned from."""
STORE = Part("store.img", HOST.end, HOST.end + (4 << 30), Path("var/lib/guardian/checkpoints"))
"""Large enough for what guardian leaves free by default."""
DATA = Part("data.img", STORE.end, STORE.end + (64 << 20), Path("srv/data"))
"""The container's volume."""
ALL = (HOST, STORE, DATA)
