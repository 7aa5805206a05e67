"""An offer of containers, of hostile origin until parsed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.archive import Manifest
from guardian.model.errors import BadInput
from guardian.model.move import Offer, Offered, Port, Size, incompatible, move_id, overlapping, ports

MOVE = "0123456789abcdef" * 2
MANIFEST = Manifest(
    checkpoint="20261125T221500000-abcdef",
    container_id="c" * 64,
    name="web",
    taken=1.0,
    purpose="suspend",
    architecture="x86_64",
    kernel="6.18",
    versions={"criu": "4.2.1"},
    cgroup_driver="systemd",
    image_id="sha256:1",
    tags=("work:1",),
    digests=(),
    image_included=True,
    volumes=(),
    members=(),
)
OFFERED = Offered(MANIFEST, {}, {"Config": {}, "HostConfig": {}}, {}, Size(1, 2))
OFFER = Offer(MOVE, "one", "0.1.0", "00", (OFFERED,), {"web": "other"}, overwrite_volumes=False)


def test_an_offer_comes_as_it_was() -> None:
    assert Offer.from_json(json.loads(json.dumps(OFFER.to_json()))) == OFFER


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(st.data(), json_values)
def test_anything_else_is_bad_input(data: st.DataObject, value: Any) -> None:
    offer = json.loads(json.dumps(OFFER.to_json()))
    place, key = offer, data.draw(st.sampled_from(sorted(offer)))
    if key == "members" and data.draw(st.booleans()):
        place = offer["members"][0]
        key = data.draw(st.sampled_from(sorted(place)))
    place[key] = value
    try:
        found = Offer.from_json(offer)
    except BadInput:
        return
    assert Offer.from_json(json.loads(json.dumps(found.to_json()))) == found


@given(json_values)
def test_noise_is_bad_input(value: Any) -> None:
    with pytest.raises(BadInput):
        Offer.from_json(value)


def test_another_protocol_and_a_container_twice_are_refused() -> None:
    with pytest.raises(BadInput, match="protocol"):
        Offer.from_json(OFFER.to_json() | {"protocol": 2})
    with pytest.raises(BadInput, match="twice"):
        Offer.from_json(dataclasses.replace(OFFER, members=(OFFERED, OFFERED)).to_json())


@pytest.mark.parametrize("value", ["", "0" * 31, "G" * 32, None, 5, "../../etc"])
def test_a_moves_id(value: object) -> None:
    with pytest.raises(BadInput):
        move_id(value)


@pytest.mark.parametrize(
    ("criu", "driver", "architecture", "problems"),
    [
        ("4.2.1", "systemd", "x86_64", 0),
        ("4.2", "systemd", "x86_64", 0),
        ("5.0", "systemd", "x86_64", 0),
        ("4.1.1", "systemd", "x86_64", 1),
        ("", "systemd", "x86_64", 1),
        ("4.2", "cgroupfs", "aarch64", 2),
    ],
)
def test_versions(criu: str, driver: str, architecture: str, problems: int) -> None:
    found = list(incompatible(MANIFEST, criu=criu, cgroup_driver=driver, architecture=architecture))
    assert len(found) == problems


def test_subnets() -> None:
    assert overlapping(["10.1.0.0/16"], ["10.1.2.0/24"])
    assert overlapping(["10.1.0.5"], ["10.1.0.0/24"])
    assert not overlapping(["10.1.0.0/16", "fd00::/64", "nonsense"], ["10.2.0.0/16", "None"])


def test_ports() -> None:
    bindings = {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "81"}],
        "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "53"}],
        "99/tcp": None,
        "7/tcp": [{"HostPort": ""}, {"HostPort": "x"}, {"HostPort": "70000"}, "x"],
    }
    found = ports({"HostConfig": {"PortBindings": bindings}})
    assert found == [Port("tcp", "", 8080), Port("tcp", "::1", 81), Port("udp", "0.0.0.0", 53)]
    assert str(found[0]) == "8080/tcp"
    assert ports({"HostConfig": {"PortBindings": []}}) == []
