"""What cannot be saved is known beforehand, in words, with a cure."""

from __future__ import annotations

from typing import Any

import pytest

from guardian.model.savable import ORCHESTRATORS, notes, refusals
from tests.unit.samples import container, id_of


def test_an_ordinary_container_can_be_saved() -> None:
    assert refusals(container()) == ()
    assert notes(container()) == ()


@pytest.mark.parametrize("runtime", ["", "runc", "io.containerd.runc.v2"])
def test_the_runtimes_that_are_runc(runtime: str) -> None:
    assert refusals(container(runtime=runtime)) == ()


def test_a_paused_one_can_be_saved() -> None:
    assert refusals(container(paused=True)) == ()


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"running": False}, "not running"),
        ({"remapped": True}, "userns-remap"),
        ({"auto_remove": True}, "--rm"),
        ({"runtime": "runsc"}, "runsc"),
        ({"runtime": "io.containerd.kata.v2"}, "kata"),
        ({"pid_mode": "host"}, "--pid host"),
        ({"pid_mode": f"container:{id_of('db')}"}, "--pid container:"),
        ({"network_mode": f"container:{id_of('db')}"}, "--network container:"),
        ({"ipc_mode": "host"}, "--ipc host"),
        ({"ipc_mode": "shareable"}, "--ipc shareable"),
        ({"ipc_mode": f"container:{id_of('db')}"}, "--ipc container:"),
        *(({"labels": {label: "x"}}, orchestrator) for label, orchestrator in ORCHESTRATORS),
    ],
)
def test_refused(facts: dict[str, Any], word: str) -> None:
    (refusal,) = refusals(container(**facts))
    assert word in refusal.what
    assert refusal.cure
    assert id_of("db") not in refusal.what


def test_all_reasons_are_given() -> None:
    assert len(refusals(container(running=False, auto_remove=True, pid_mode="host"))) == 3


def test_the_hosts_network_is_allowed_and_noted() -> None:
    subject = container(network_mode="host")
    assert refusals(subject) == ()
    assert "connections" in notes(subject)[0]


@pytest.mark.parametrize("mode", ["none", "bridge", "default", "my-network", "containers"])
def test_networks_of_its_own(mode: str) -> None:
    assert refusals(container(network_mode=mode)) == ()


def test_none_and_private_ipc() -> None:
    assert refusals(container(ipc_mode="none")) == ()
    assert refusals(container(ipc_mode="")) == ()
