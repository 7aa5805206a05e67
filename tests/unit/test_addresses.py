"""Who can expect the address of before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.addresses import at_risk, free_below
from guardian.model.container import Attachment, Container, RestartPolicy
from tests.unit.samples import container


def attached(address: str, **changes: Any) -> Attachment:
    fields: dict[str, Any] = {"address4": address, "prefix4": 16, "driver": "bridge"} | changes
    return Attachment("net", "n1", **fields)


def on(name: str, address: str, *, policy: RestartPolicy = RestartPolicy.ALWAYS, **changes: Any) -> Container:
    return container(name, networks=(attached(address, **changes),), restart_policy=policy)


def risks(guarded: list[Container], *others: Container) -> dict[str, tuple[str, ...]]:
    found = at_risk(guarded, others)
    return {item.name: found[item.id] for item in guarded if found[item.id]}


GUARDED = [on("a", "172.17.0.2"), on("b", "172.17.0.4"), on("c", "172.17.0.9")]


def test_alone_all_come_back() -> None:
    assert risks(GUARDED) == {}


def test_whoever_is_started_before_takes_the_lowest() -> None:
    assert risks(GUARDED, on("x", "172.17.0.3")) == {"a": ("net",)}
    three = [on(name, "172.17.0.7") for name in "xyz"]
    assert risks(GUARDED, *three) == {"a": ("net",), "b": ("net",)}


def test_who_takes_nothing_of_anybody() -> None:
    assert risks(GUARDED, on("x", "172.17.0.3", policy=RestartPolicy.NO)) == {}
    assert risks(GUARDED, on("x", "172.17.0.3", pinned=True)) == {}
    other = container("x", networks=(Attachment("other", "n2", "172.17.0.3", prefix4=16, driver="bridge"),))
    assert risks(GUARDED, other) == {}


@pytest.mark.parametrize(
    "changes", [{"pinned": True}, {"driver": "macvlan"}, {"address4": ""}, {"address4": "x"}, {"prefix4": 0}]
)
def test_some_need_no_luck(changes: dict[str, Any]) -> None:
    assert risks([on("a", "172.17.0.2", **changes)], on("x", "172.17.0.9")) == {}


def network(*taken: str, **pool: Any) -> dict[str, Any]:
    return {
        "IPAM": {"Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"} | pool]},
        "Containers": {str(number): {"IPv4Address": f"{each}/16"} for number, each in enumerate(taken)},
    }


@pytest.mark.parametrize(
    ("own", "there", "free"),
    [
        ("172.17.0.2", network(), 0),
        ("172.17.0.5", network(), 3),
        ("172.17.0.5", network("172.17.0.2", "172.17.0.4", "172.17.0.9"), 1),
        ("172.17.0.5", network(Gateway="172.17.0.3"), 3),
        ("172.17.8.2", network(IPRange="172.17.8.0/24"), 2),
        ("172.17.8.2", network(AuxiliaryAddresses={"router": "172.17.8.1"}, IPRange="172.17.8.0/24"), 1),
        ("172.17.0.2", network(IPRange="172.17.8.0/24"), 0),
        ("10.0.0.2", network(), 0),
        ("172.17.0.5", {}, 0),
    ],
)
def test_how_many_lower_ones_are_free(own: str, there: dict[str, Any], free: int) -> None:
    assert len(free_below(attached(own), there, (), most=9)) == free
    assert free_below(attached(own), there, (), most=free - 1) == ()


@given(st.integers(2, 200), st.sets(st.integers(2, 250)))
def test_filling_the_free_ones_leads_to_ones_own(own: int, taken: set[int]) -> None:
    """dockerd's rule: the lowest free one."""
    taken -= {own}
    there = network(*(f"172.17.0.{number}" for number in taken))
    full = {0, 1, *taken}
    for number in free_below(attached(f"172.17.0.{own}"), there, (), most=256):
        lowest = next(number for number in range(256) if number not in full)
        assert lowest == number & 255
        full.add(lowest)
    assert next(number for number in range(256) if number not in full) == own
