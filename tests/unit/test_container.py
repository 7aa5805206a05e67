"""Container facts: written, read back, and refused where they were tampered with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.container import Container, Healthcheck, is_container_id
from guardian.model.errors import BadInput, GuardianError
from tests.unit.samples import container, id_of, on_network, volume


def test_to_json_and_back() -> None:
    subject = container(
        labels={"a": "b"},
        networks=on_network("x", "172.17.0.2").networks,
        mounts=(volume("v"),),
        healthcheck=Healthcheck(("CMD", "true"), 5.0),
    )
    assert Container.from_json(json.loads(json.dumps(subject.to_json()))) == subject


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_what_is_no_id(text: str) -> None:
    assert not is_container_id(text)
    with pytest.raises(BadInput):
        Container.from_json(container().to_json() | {"id": text})


def test_an_id() -> None:
    assert is_container_id(id_of("x"))


@pytest.mark.parametrize(
    "change", [{"restart_policy": "never"}, {"networks": [1]}, {"mounts": None}, {"more": 1}]
)
def test_what_was_tampered_with_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Container.from_json(container().to_json() | change)


@given(st.none() | st.integers() | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()))
def test_no_json_raises_anything_else(data: object) -> None:
    with pytest.raises(BadInput):
        Container.from_json(data)


def test_an_error_is_one_line() -> None:
    assert GuardianError("a", "b", hint="c").text() == "a: b (c)"
    assert str(GuardianError("a")) == "a"
