"""The record of a checkpoint: what is written down before anything is done."""

from __future__ import annotations

import dataclasses
from typing import Any

from guardian.model import plain
from guardian.model.container import Container, is_container_id
from guardian.model.errors import BadInput
from guardian.model.states import Purpose
from guardian.model.wording import quoted


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
            # A newer guardian may have written more; what matters would have another format.
            record = plain.made(cls, data, more=True)
        except ValueError as error:
            raise BadInput("a checkpoint's record does not parse", str(error)) from error
        if not is_container_id(record.container.id):
            raise BadInput(
                "a checkpoint's record does not parse", f"{quoted(record.container.id)} is no container id"
            )
        return record
