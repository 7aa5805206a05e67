"""Options, results and texts on the bus."""

from __future__ import annotations

from typing import Any

import pytest
from dbus_next.signature import Variant
from hypothesis import given, strategies

from guardian.faces import bus_values
from guardian.model.errors import BadInput


def test_options_are_yes_or_no() -> None:
    assert bus_values.flags("Release", {}, "discard") == {"discard": False}
    assert bus_values.flags("Release", {"discard": Variant("b", True)}, "discard") == {"discard": True}


@pytest.mark.parametrize(
    ("options", "allowed", "said"),
    [
        ({"leave_running": Variant("b", True)}, ["leave-running"], "it takes leave-running (b)"),
        ({"x": Variant("b", True)}, ["a", "b"], "it takes a (b) or b (b)"),
        ({"x": Variant("s", "")}, [], "it takes none"),
        ({"a": Variant("i", 1)}, ["a"], "must be 'b'"),
        ({"\x1b[31m": Variant("i", 1)}, ["a"], r"'\x1b[31m'"),
    ],
)
def test_other_options_are_refused(options: dict[str, Variant], allowed: list[str], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        bus_values.flags("Checkpoint", options, *allowed)
    assert said in str(caught.value)


RESULT = {
    "container_id": "abc",
    "name": "redis",
    "outcome": "cold",
    "reason": "because",
    "seconds": 2,
    "checkpoint": "",
    "a key of a later worker": 1,
}
SHOWN = {
    "container": Variant("s", "abc"),
    "name": Variant("s", "redis"),
    "outcome": Variant("s", "cold"),
    "reason": Variant("s", "because"),
    "seconds": Variant("d", 2.0),
    "checkpoint": Variant("s", ""),
}


def test_results() -> None:
    assert bus_values.results([RESULT]) == [SHOWN]


@pytest.mark.parametrize("broken", [{}, RESULT | {"seconds": "soon"}, RESULT | {"seconds": None}])
def test_what_is_no_result(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        bus_values.results([broken])


@pytest.mark.parametrize("last", [None, RESULT])
def test_the_list_has_no_null(last: dict[str, Any] | None) -> None:
    item = {
        "id": "abc",
        "name": "redis",
        "state": "held",
        "savable": False,
        "reasons": ["one", "two"],
        "problems": [],
        "depends_on": ["def"],
        "checkpoint": None,
        "last": last,
    }
    (shown,) = bus_values.containers([item])
    assert shown["checkpoint"] == Variant("s", "")
    assert shown["depends-on"] == Variant("as", ["def"])
    assert shown["last"] == Variant("a{sv}", {} if last is None else SHOWN)
    assert shown.keys() == {key.replace("_", "-") for key in item}


@given(strategies.text(alphabet=strategies.characters(exclude_categories=())))
def test_every_text_can_be_sent(given: str) -> None:
    sent = bus_values.text(given)
    assert "\0" not in sent.encode().decode()
    if given.isprintable():
        assert sent == given


@pytest.mark.parametrize(
    ("name", "whole"), [("Busy", "Busy"), ("not one", "Failed"), ("", "Failed"), ("a.b", "Failed")]
)
def test_error_names(name: str, whole: str) -> None:
    assert bus_values.error_name(name) == f"org.dockerguardian.Guardian1.Error.{whole}"
