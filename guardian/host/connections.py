"""The TCP connections of a container as the kernel shows them, and the record of them beside its images."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from guardian.host import durable, gate
from guardian.host.checkpoint import Checkpoint
from guardian.host.command import CommandFailed, run
from guardian.model import json_text
from guardian.model.connections import (
    Address,
    Connection,
    Fate,
    Flow,
    Socket,
    Surroundings,
    address,
    closing,
    connections,
    sockets,
    tracked,
)
from guardian.model.container import Container
from guardian.model.errors import BadInput
from guardian.model.states import FORMAT
from guardian.model.wording import printable, quoted

log = logging.getLogger("guardian.connections")

_RECORD = "connections.json"
_FAILED = "connections-failed"
_LIMIT = 10.0


def of(
    container: Container, init: int, pids: Iterable[int], *, own_network: bool, names: dict[Address, str]
) -> tuple[Connection, ...]:
    """The connections of a container whose processes are `pids`; raises CommandFailed."""
    found = list(_sockets(init))
    if own_network:
        found = [item for item in found if not item.flow.target.is_loopback]
    else:
        # The namespace is the host's: only those that its processes hold.
        inodes = {inode for pid in pids for inode in _socket_inodes(pid)}
        found = [item for item in found if item.inode in inodes]
    if not found:
        return ()
    own = own_addresses(container)
    around = Surroundings(
        own=own,
        host=_host_addresses(),
        names=names,
        bridged=_bridged(container),
    )
    families = {item.flow.source.version for item in found} if own_network else set()
    entries = [entry for version in families for entry in tracked(_conntrack(version))]
    return connections(found, entries, around)


def own_addresses(container: Container) -> frozenset[Address]:
    """The container's addresses on all its networks."""
    return frozenset(_parsed(text for item in container.networks for text, _ in item.addresses()))


def names_of(containers: Iterable[Container]) -> dict[Address, str]:
    """Which container has an address."""
    return {where: container.name for container in containers for where in own_addresses(container)}


def on_host() -> frozenset[Flow]:
    """The flows of all sockets in the host's own network namespace that some process still has."""
    return frozenset(item.flow for item in _sockets(os.getpid()) if item.inode)


def keep(checkpoint: Checkpoint, found: Sequence[Connection], moving: Iterable[Address] = ()) -> None:
    """Write the record of the connections, and the addresses of the host that move along."""
    data = {
        "format": FORMAT,
        "connections": [item.to_json() for item in found],
        "moving": sorted(map(str, moving)),
    }
    durable.write(checkpoint.folder / _RECORD, json.dumps(data, indent=1) + "\n")


def keep_problem(checkpoint: Checkpoint, problem: str) -> None:
    """Write down why there is no record of the connections."""
    durable.write(checkpoint.folder / _RECORD, json.dumps({"format": FORMAT, "problem": problem}) + "\n")


def kept(checkpoint: Checkpoint) -> tuple[Connection, ...]:
    """The record of the connections, empty where there is none; raises BadInput where it does not parse."""
    try:
        found, problem = parsed(json_text.loads((checkpoint.folder / _RECORD).read_text()))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise BadInput("the record of its connections does not parse", str(error)) from error
    if problem:
        raise BadInput("they could not be looked at", problem)
    return found


def moving(checkpoint: Checkpoint) -> frozenset[Address]:
    """The addresses of its old host that moved along with a checkpoint; those that do not parse do not."""
    try:
        data = json_text.loads((checkpoint.folder / _RECORD).read_text())
        return frozenset(_parsed(str(item) for item in data.get("moving") or ()))
    except (OSError, ValueError, AttributeError, TypeError):
        return frozenset()


def parsed(data: Any) -> tuple[tuple[Connection, ...], str]:
    """What is in a record of connections: them, or why they could not be looked at; raises BadInput."""
    try:
        if data["format"] != FORMAT:
            raise BadInput("the record of its connections does not parse", f"format {quoted(data['format'])}")
        if "problem" in data:
            return (), printable(str(data["problem"])[:200]) or "it is not known why"
        return tuple(Connection.from_json(item) for item in data["connections"]), ""
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput("the record of its connections does not parse", f"{error!s:.200}") from error


def prepare(folder: Path, found: Sequence[Fate]) -> None:
    """Write what the commit script does before the container runs: entries to put back, sockets to close.

    Into the folder of its restore (`gate.restore_folder`).
    """
    back = [fate.connection.entry.to_put_back() for fate in found if fate.connection.entry is not None]
    gate.put(folder / "conntrack", "".join(f"{line}\n" for line in back))
    (folder / _FAILED).unlink(missing_ok=True)
    gate.put(folder / "closing", closing(fate for fate in found if fate.lost))


def failure(folder: Path) -> str:
    """What the commit script could not do for the connections; empty where it could."""
    try:
        return printable((folder / _FAILED).read_text()[:200])
    except OSError:
        return ""


def _sockets(pid: int) -> Iterable[Socket]:
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # no IPv6 in this kernel
            yield from sockets(Path(f"/proc/{pid}/net/{name}").read_text())


def _socket_inodes(pid: int) -> Iterable[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for entry in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink(f"/proc/{pid}/fd/{entry}")
                if target.startswith("socket:["):
                    yield int(target[8:-1])


def _conntrack(version: int) -> str:
    try:
        return run(["conntrack", "-L", "-p", "tcp", "-f", f"ipv{version}"], limit=_LIMIT).output
    except CommandFailed as error:
        log.error("connections from outside cannot be kept: %s", error)
        return ""


def _host_addresses() -> frozenset[Address]:
    shown = json_text.loads(run(["ip", "-json", "address"], limit=_LIMIT).output)
    return frozenset(_parsed(info.get("local", "") for link in shown for info in link.get("addr_info") or []))


def _parsed(texts: Iterable[str]) -> Iterable[Address]:
    for text in texts:
        with contextlib.suppress(ValueError):
            yield address(text)


def _bridged(container: Container) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Subnets in which there are only containers and the host."""
    found = []
    for item in container.networks:
        for text, prefix in item.addresses():
            if item.driver == "bridge" and prefix:
                with contextlib.suppress(ValueError):
                    found.append(ipaddress.ip_network(f"{text}/{prefix}", strict=False))
    return found
