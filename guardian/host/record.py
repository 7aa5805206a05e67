"""The record of a checkpoint: what is written down before anything is done."""

from __future__ import annotations

import dataclasses
from typing import Any

from guardian.model.container import Container
from guardian.model.errors import BadInput
from guardian.model.states import Purpose


@dataclasses.dataclass(frozen=True)
class Record:
    """What is written down before anything is done. `taken` is wall-clock seconds, for people; `boot` the boot id.

    `number` counts the container's checkpoints, 0 before one has been given; `note` is a person's, or empty.
    """

    container: Container
    purpose: Purpose
    taken: float
    boot: str
    group: tuple[str, ...]
    cgroup: str
    own_network: bool
    oom_score_adj: int
    by_person: bool
    number: int = 0
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {
            "container": self.container.to_json(),
            "purpose": self.purpose.value,
            "taken": self.taken,
            "boot": self.boot,
            "group": list(self.group),
            "cgroup": self.cgroup,
            "own_network": self.own_network,
            "oom_score_adj": self.oom_score_adj,
            "by_person": self.by_person,
            "number": self.number,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, data: Any) -> Record:
        """Raises BadInput for anything `to_json` would not have written."""
        try:
            return cls(
                container=Container.from_json(data["container"]),
                purpose=Purpose(data["purpose"]),
                taken=float(data["taken"]),
                boot=str(data["boot"]),
                group=tuple(str(item) for item in data["group"]),
                cgroup=str(data["cgroup"]),
                own_network=bool(data["own_network"]),
                oom_score_adj=int(data["oom_score_adj"]),
                by_person=bool(data["by_person"]),
                number=int(data.get("number", 0)),
                note=str(data.get("note", "")),
            )
        except (TypeError, KeyError, ValueError) as error:
            raise BadInput("a checkpoint's record does not parse", str(error)) from error
