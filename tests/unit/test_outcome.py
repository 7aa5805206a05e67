"""Results: what they must say, and that outcomes of a later version are accepted."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.errors import BadInput
from guardian.model.outcome import Outcome, Result
from tests.unit.samples import id_of

GOOD = {
    "container_id": id_of("app"),
    "name": "app",
    "outcome": "cold",
    "reason": "the image is gone",
    "seconds": 1.5,
    "checkpoint": "c1",
}


def test_an_outcome_is_its_word() -> None:
    assert Outcome.RESUMED == "resumed"
    assert f"{Outcome.COLD}" == "cold"
    assert json.dumps(Outcome.FAILED) == '"failed"'
    assert {Outcome("resumed"): 1}[Outcome.RESUMED] == 1


@pytest.mark.parametrize("outcome", [Outcome.COLD, Outcome.STOPPED, Outcome.FAILED, Outcome.SKIPPED])
def test_each_but_the_first_has_a_reason(outcome: Outcome) -> None:
    with pytest.raises(BadInput, match="no reason"):
        Result(id_of("app"), "app", outcome, "", 1.0)


def test_what_went_well_needs_no_reason() -> None:
    assert Result(id_of("app"), "app", Outcome.RESUMED, "", 1.0).checkpoint == ""
    assert Result(id_of("app"), "app", Outcome.SAVED, "", 1.0, "c1").reason == ""


def test_there_is_no_empty_outcome() -> None:
    with pytest.raises(BadInput, match="no outcome"):
        Result(id_of("app"), "app", Outcome(""), "because", 1.0)


@given(st.text(min_size=1), st.text(min_size=1), st.floats(0, 1e9))
def test_to_json_and_back(outcome: str, reason: str, seconds: float) -> None:
    result = Result(id_of("app"), "app", Outcome(outcome), reason, seconds, "c1")
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_later_versions_outcome_and_keys_are_accepted() -> None:
    result = Result.from_json(GOOD | {"outcome": "migrated", "reason": "", "host": "b"})
    assert result.outcome == "migrated"


@pytest.mark.parametrize(
    "change",
    [
        {"container_id": "../../etc"},
        {"container_id": None},
        {"name": 1},
        {"outcome": ""},
        {"outcome": None},
        {"reason": ""},
        {"reason": ["x"]},
        {"seconds": "1"},
        {"seconds": True},
        {"seconds": -1},
        {"seconds": math.nan},
        {"seconds": math.inf},
        {"checkpoint": None},
    ],
)
def test_anything_else_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Result.from_json(GOOD | change)


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_key_is_refused(key: str) -> None:
    with pytest.raises(BadInput):
        Result.from_json({name: value for name, value in GOOD.items() if name != key})


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.lists(st.text())
    | st.dictionaries(st.text(), st.text())
)
def test_no_json_raises_anything_else(data: object) -> None:
    with pytest.raises(BadInput):
        Result.from_json(data)
