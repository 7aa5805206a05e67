"""Who can expect the address of before."""

from __future__ import annotations

from typing import Any

import pytest

from guardian.model.addresses import at_risk
from guardian.model.container import Attachment, Container
from tests.unit.samples import container


def on(name: str, address: str, **changes: Any) -> Container:
    fields: dict[str, Any] = {"address4": address, "prefix4": 16, "driver": "bridge"} | changes
    return container(name, networks=(Attachment("net", "n1", **fields),))


def risks(*containers: Container) -> dict[str, tuple[str, ...]]:
    found = at_risk(containers)
    return {item.name: found[item.id] for item in containers if found[item.id]}


def test_without_a_gap_all_come_back() -> None:
    assert risks(on("b", "172.17.0.3"), on("a", "172.17.0.2"), on("c", "172.17.0.4")) == {}


def test_above_a_gap_nobody_can_be_sure() -> None:
    found = risks(on("a", "172.17.0.2"), on("c", "172.17.0.4"), on("d", "172.17.0.5"))
    assert found == {"c": ("net",), "d": ("net",)}


@pytest.mark.parametrize(
    "changes", [{"pinned": True}, {"driver": "macvlan"}, {"address4": ""}, {"address4": "x"}, {"prefix4": 0}]
)
def test_some_need_no_luck(changes: dict[str, Any]) -> None:
    assert risks(on("a", "172.17.0.9", **changes)) == {}


def test_another_network_is_another_count() -> None:
    both = container(
        "a",
        networks=(
            Attachment("one", "n1", "172.17.0.2", prefix4=16, driver="bridge"),
            Attachment("two", "n2", "172.18.0.3", prefix4=16, driver="bridge"),
        ),
    )
    assert risks(both) == {"a": ("two",)}
