"""How a person names a checkpoint: `web` (its newest), `web@2` (its second), or a unique beginning of an id."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from guardian.model.errors import NoCheckpoint
from guardian.model.wording import quoted

_NUMBERED = re.compile(r"(?P<container>[^@]+)@(?P<number>[0-9]{1,9})")
_LEAST_PREFIX = 4


@dataclasses.dataclass(frozen=True)
class Named:
    """What a checkpoint can be named by. Numbers count a container's checkpoints from 1 and are never used twice."""

    id: str
    container_id: str
    container: str
    number: int

    def shown(self) -> str:
        """Its short name."""
        return f"{self.container}@{self.number}"


def find(name: str, known: Sequence[Named]) -> Named:
    """The checkpoint that is meant, `known` being in the order of time; raises NoCheckpoint.

    A container that was made anew keeps its name, and numbers begin anew: a number that two of them have is refused.
    """
    numbered = _NUMBERED.fullmatch(name)
    if numbered:
        of = [item for item in known if is_of(item, numbered["container"])]
        found = [item for item in of if item.number == int(numbered["number"])]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(item.id for item in found)
            raise NoCheckpoint(f"{quoted(name)} names {len(found)} checkpoints", f"by id {ids}")
        there = ", ".join(item.shown() for item in of[-5:])
        raise NoCheckpoint(f"there is no checkpoint {quoted(name)}", f"there are {there}" if there else "")
    exact = [item for item in known if item.id == name] or [item for item in known if is_of(item, name)]
    if exact:
        return exact[-1]
    beginning = [item for item in known if len(name) >= _LEAST_PREFIX and item.id.startswith(name)]
    if len(beginning) == 1:
        return beginning[0]
    why = f"{len(beginning)} ids begin so" if beginning else ""
    raise NoCheckpoint(
        f"there is no checkpoint {quoted(name)}", why, hint="guardianctl checkpoints lists them"
    )


def is_of(item: Named, container: str) -> bool:
    """Whether it is a checkpoint of the container that is meant, by its name, its id or the beginning of that."""
    name = container.removeprefix("/")
    return item.container == name or (len(name) >= _LEAST_PREFIX and item.container_id.startswith(name))
