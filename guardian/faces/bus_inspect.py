"""Inspect for the bus: the worker's answer as a file. guardiand itself may not read the store."""

from __future__ import annotations

import asyncio
import os

from guardian.faces import worker_client
from guardian.faces.bus_worker import Conversation, raise_if_refused
from guardian.faces.jobs import Call
from guardian.model.errors import BadInput, GuardianError

_LIMIT = 150.0


async def inspection_of(subject: str) -> int:
    """A descriptor of an anonymous file with what `guardianctl inspect --json` says; raises BadInput or Refused."""
    if not subject:
        raise BadInput("Inspect was asked for no container and no checkpoint")
    async with await Conversation.begin(worker_client.request(Call.INSPECT, (subject,))) as conversation:
        try:
            answer = await asyncio.wait_for(conversation.end(), _LIMIT)
        except TimeoutError as error:
            raise GuardianError("the inspection took too long", f"more than {_LIMIT:g} s") from error
    raise_if_refused(answer)
    facts = os.memfd_create("inspection", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(facts), "w", encoding="utf-8") as file:
        file.write(str(answer.results[0]["json"]))
    os.lseek(facts, 0, os.SEEK_SET)
    return facts
