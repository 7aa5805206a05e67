"""The table beside checkpointctl and crit says of each field where it is shown and by what test, or why it is not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.comparison.fields import FIELDS

_HOST = Path(__file__).resolve().parents[1] / "host"


def test_each_field_is_compared_or_accounted_for() -> None:
    for field in FIELDS:
        compared = field.theirs is not None and field.ours is not None
        if field.place:
            assert compared or (_HOST / f"{field.shown_by}.py").exists(), field
        else:
            assert field.remark, field
            assert not compared, field


def test_each_field_is_there_once() -> None:
    twice = [key for key, count in Counter((field.of, field.name) for field in FIELDS).items() if count > 1]
    assert twice == []
