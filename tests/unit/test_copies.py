"""The check of test-migrate that two copies never run at once can fail."""

from __future__ import annotations

from tests.migrate.copies import Seen, wrong


def _seen(*what: tuple[str, str, int]) -> set[Seen]:
    return {Seen(at, token, count, host) for at, (host, token, count) in enumerate(what)}


def test_a_move_is_as_promised() -> None:
    gone = _seen(("one", "a", 1), ("one", "a", 2), ("two", "a", 3), ("two", "a", 4))
    assert not wrong(gone, may_go_back=False)
    assert not wrong(_seen(("one", "a", 1), ("one", "b", 1), ("two", "b", 2)), may_go_back=False)


def test_two_at_once_are_seen() -> None:
    assert "in turn" in wrong(_seen(("one", "a", 1), ("two", "a", 2), ("one", "a", 2)), may_go_back=True)
    assert "in turn" in wrong(_seen(("two", "a", 1), ("one", "a", 2)), may_go_back=True)


def test_memory_that_went_back_is_seen() -> None:
    back = _seen(("one", "a", 5), ("two", "a", 3))
    assert "went back" in wrong(back, may_go_back=False)
    assert not wrong(back, may_go_back=True)


def test_an_old_memory_is_seen() -> None:
    told = wrong(_seen(("one", "a", 1), ("one", "b", 1), ("two", "a", 2)), may_go_back=True)
    assert told == "an old memory came back"
