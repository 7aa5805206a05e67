"""Guest: one container of a move on its way in, as far as it is here."""

from __future__ import annotations

from guardian.host.checkpoint import Checkpoint
from guardian.model import archive
from guardian.model.container import Container
from guardian.model.errors import BadInput
from guardian.work.arrival import Arrival


class Guest:
    """One container on its way in."""

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.deleted: list[str] = []
        self._container: Container | None = None
        self._checkpoint: Checkpoint | None = None

    @property
    def container(self) -> Container:
        """The container that was made for it; raises BadInput before."""
        if self._container is None:
            raise BadInput("the other host says things in the wrong order")
        return self._container

    @container.setter
    def container(self, made: Container) -> None:
        self._container = made

    def files_are_there(self) -> bool:
        """Whether all but its images has come."""
        return (self.arrival.folder / archive.RECORD).exists()

    @property
    def checkpoint(self) -> Checkpoint:
        """Its checkpoint here; raises BadInput before there is one."""
        if self._checkpoint is None:
            raise BadInput("the other host says things in the wrong order")
        return self._checkpoint

    @checkpoint.setter
    def checkpoint(self, made: Checkpoint) -> None:
        self._checkpoint = made
