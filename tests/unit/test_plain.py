"""Plain data becomes the dataclass it was made of, or is refused; nothing of another type gets through."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.host.record import Record
from guardian.model import plain
from guardian.model.container import Attachment, Container, Healthcheck
from guardian.model.errors import BadInput
from guardian.model.states import Purpose
from tests.unit.samples import container, volume

RECORD = Record(
    container=container(
        labels={"a": "b"},
        networks=(Attachment("own", "n" * 64, "10.0.0.2", network={"IPAM": {"Config": [None, 1]}}),),
        mounts=(volume("v"),),
        healthcheck=Healthcheck(("CMD", "true"), 5),
    ),
    purpose=Purpose.SUSPEND,
    taken=1.5,
    boot="boot",
    group=("a", "b"),
    cgroup="/sys/fs/cgroup/x",
    own_network=True,
    oom_score_adj=-5,
    by_person=False,
)


def test_it_comes_back() -> None:
    assert Record.from_json(json.loads(json.dumps(RECORD.to_json()))) == RECORD
    assert Record.from_json(RECORD.to_json() | {"of a newer guardian": 1}) == RECORD
    newer = RECORD.to_json()
    for inner in (newer["container"], newer["container"]["networks"][0], newer["container"]["healthcheck"]):
        inner["of a newer guardian"] = 1
    assert Record.from_json(newer) == RECORD
    older = RECORD.to_json()
    del older["number"], older["container"]["links"]
    assert Record.from_json(older) == RECORD


def test_what_is_not_known_is_refused_at_every_depth_where_nothing_more_may_be() -> None:
    inner = RECORD.to_json()["container"]
    inner["healthcheck"]["more"] = 1
    for data in (inner, container().to_json() | {"more": 1}):
        with pytest.raises(ValueError, match="'more' is not known"):
            plain.made(Container, data)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", []),
        ("labels", {"a": 1}),
        ("labels", {"\ud800": "a"}),
        ("name", None),
        ("name", "\ud800"),
        ("running", 1),
        ("pid", True),
        ("pid", 1.5),
        ("pid", 1 << 70),
        ("stop_timeout", float("nan")),
        ("stop_timeout", 10**400),
        ("restart_policy", {}),
        ("networks", {"a": 1}),
        ("networks", [{"name": "x", "network_id": "y", "network": []}]),
        ("networks", [{"name": "x"}]),
        ("mounts", [{**dataclasses.asdict(volume("v")), "source": ["x"]}]),
        ("healthcheck", {"argv": "true", "timeout": 1}),
    ],
)
def test_what_is_of_another_type(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        plain.made(Container, RECORD.to_json()["container"] | {key: value})
    with pytest.raises(BadInput):
        Record.from_json(RECORD.to_json() | {"container": RECORD.to_json()["container"] | {key: value}})


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(st.sampled_from(sorted(RECORD.to_json())), st.sampled_from(sorted(container().to_json())), JSON)
def test_anything_at_all(own: str, inner: str, value: object) -> None:
    data = RECORD.to_json()
    for wrong in (data | {own: value}, data | {"container": data["container"] | {inner: value}}, value):
        try:
            Record.from_json(wrong)
        except BadInput as error:
            assert len(str(error)) < 400
