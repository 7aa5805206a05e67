"""What a person means by the name of a checkpoint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.checkpoint_name import Named, find, is_of
from guardian.model.errors import NoCheckpoint
from tests.unit.samples import id_of

OLD, NEW = id_of("first web"), id_of("second web")
KNOWN = [
    Named("20260101T000000-aaaaaa", OLD, "web", 1),
    Named("20260102T000000-bbbbbb", OLD, "web", 2),
    Named("20260103T000000-cccccc", id_of("db"), "db", 1),
    Named("20260104T000000-dddddd", NEW, "web", 1),
]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("web", 3),
        ("/web", 3),
        ("web@2", 1),
        (f"{OLD[:12]}@1", 0),
        (OLD, 1),
        ("db", 2),
        ("20260103", 2),
        ("20260102T000000-bbbbbb", 1),
    ],
)
def test_the_one_that_is_meant(name: str, place: int) -> None:
    assert find(name, KNOWN) is KNOWN[place]


def test_a_number_that_two_containers_of_a_name_have_is_refused() -> None:
    with pytest.raises(NoCheckpoint, match="names 2 checkpoints") as caught:
        find("web@1", KNOWN)
    assert KNOWN[0].id in str(caught.value)
    assert KNOWN[3].id in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "we", "web@3", "web@", "@1", "web@-1", "2026", "nobody", "web@1@2", "w\0b"]
)
def test_nobody_is_meant(name: str) -> None:
    with pytest.raises(NoCheckpoint) as caught:
        find(name, KNOWN)
    assert "\0" not in str(caught.value)


def test_the_error_says_what_there_is() -> None:
    with pytest.raises(NoCheckpoint, match="there are web@1, web@2, web@1"):
        find("web@7", KNOWN)


@given(st.text())
def test_any_text_is_a_name_or_an_error(name: str) -> None:
    try:
        found = find(name, KNOWN)
    except NoCheckpoint:
        return
    assert found in KNOWN


def test_of_a_container() -> None:
    assert is_of(KNOWN[0], "web")
    assert is_of(KNOWN[0], OLD[:8])
    assert not is_of(KNOWN[0], "db")
