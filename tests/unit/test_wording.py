"""How hostile values are put into sentences."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.wording import escaped, listed, quoted, span_of_time, suggestion


@given(st.text())
def test_a_quoted_text_is_one_short_printable_line(text: str) -> None:
    assert quoted(text).isprintable()
    assert len(quoted("\x1b" + text * 100)) < 900


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "'a'"),
        (True, "True"),
        (7, "7"),
        (1 << 100, "a very large number"),
        ({"a": 1}, "a table"),
        ([1], "an array"),
        (None, "nothing"),
        (datetime.date(2026, 1, 1), "datetime.date(2026, 1, 1)"),
    ],
)
def test_quoted(value: object, shown: str) -> None:
    assert quoted(value) == shown


def test_a_number_that_python_refuses_to_print() -> None:
    assert quoted(16**5000) == "a very large number"


def test_listed() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b or c"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (119.9, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (900000, "10 d")],
)
def test_span_of_time(seconds: float, shown: str) -> None:
    assert span_of_time(seconds) == shown


def test_suggestion() -> None:
    assert suggestion("budgt", ["budget", "path"]) == "did you mean budget"
    assert suggestion("zzz", ["budget", "path"]) == ""
    assert suggestion("x" * 1_000_000, ["budget"]) == ""


@pytest.mark.parametrize(
    ("data", "wide", "shown"),
    [
        (b"plain \xc3\xbc", False, "plain \u00fc"),
        (b"\x1b[2J\n\t\0\\", False, r"\x1b[2J\n\t\x00\\"),
        (b"\xff\xed\xb2\x80", False, r"\xff\xed\xb2\x80"),
        ("\u202eright to left".encode(), False, r"\u202eright to left"),
        ("wide\n".encode("utf-16-le") + b"x", True, r"wide\n\x78"),
        (b"\x00\xd8", True, r"\ud800"),
    ],
)
def test_escaped(data: bytes, wide: bool, shown: str) -> None:
    assert escaped(data, wide=wide) == shown
