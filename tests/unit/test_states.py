"""The life of a checkpoint: the table of ways, and how what a crash left on disk is read."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.states import (
    DEPARTING,
    FORMAT,
    MEANING,
    WAYS_OUT,
    Aftermath,
    Purpose,
    State,
    Verdict,
    aftermath,
    dot,
    may,
    readable,
    restorable,
    state_of,
)

MAIN = tuple(State)[:14]
ASIDE = tuple(State)[14:]
BEFORE_COMMIT = MAIN[: MAIN.index(State.COMMITTED)]
MAY_BE_RESTORED = MAIN[MAIN.index(State.COMMITTED) : MAIN.index(State.SPENT)]
ENDED = (State.SPENT, State.RUNNING, State.DONE, *ASIDE)

marks_found = st.frozensets(st.sampled_from([state.value for state in State]) | st.text(max_size=8))
verdicts = st.sampled_from([None, *Verdict])


def marks(*states: State) -> frozenset[str]:
    return frozenset(state.value for state in states)


def up_to(last: State) -> frozenset[str]:
    return marks(*MAIN[: MAIN.index(last) + 1])


def test_the_main_line_is_the_designs() -> None:
    line = "frozen locked dumped durable held committed killed ticketed restoring proven arrived spent running done"
    assert [state.value for state in MAIN] == line.split()
    assert [state.value for state in ASIDE] == ["void", "tainted", "orphaned", "expired", "moved"]


def test_every_state_has_its_ways_and_its_meaning() -> None:
    assert set(WAYS_OUT) == set(MEANING) == set(State)


def test_the_main_line_can_be_gone() -> None:
    assert all(may(before, after) for before, after in itertools.pairwise(MAIN))


def test_every_step_may_be_repeated() -> None:
    assert all(may(state, state) for state in State)


def test_nothing_comes_back_from_where_it_may_have_run() -> None:
    for state in ENDED:
        assert not WAYS_OUT[state] & {*BEFORE_COMMIT, *MAY_BE_RESTORED}


def test_nothing_is_given_up_after_the_kill() -> None:
    for state in MAIN[MAIN.index(State.KILLED) :]:
        assert not may(state, State.VOID)


def test_every_state_is_reached_from_the_freeze_and_ends() -> None:
    seen, waiting = {State.FROZEN}, [State.FROZEN]
    while waiting:
        for after in WAYS_OUT[waiting.pop()] - seen:
            seen.add(after)
            waiting.append(after)
    assert seen == set(State)
    for state in State:
        reached, ahead = {state}, [state]
        while ahead:
            for after in WAYS_OUT[ahead.pop()] - reached:
                reached.add(after)
                ahead.append(after)
        assert reached & {State.DONE, State.VOID, State.ORPHANED}


@pytest.mark.parametrize("last", BEFORE_COMMIT)
def test_before_the_verdict_the_latest_mark_is_the_state(last: State) -> None:
    assert state_of(up_to(last), None) is last
    assert state_of(up_to(last), Verdict.VOID) is State.VOID


@pytest.mark.parametrize("last", MAIN[MAIN.index(State.COMMITTED) :])
def test_after_the_commit_the_latest_mark_is_the_state(last: State) -> None:
    assert state_of(up_to(last), Verdict.COMMIT) is last


def test_the_verdict_is_the_commit() -> None:
    assert state_of(up_to(State.HELD), Verdict.COMMIT) is State.COMMITTED
    assert state_of(up_to(State.PROVEN), None) is State.HELD


def test_the_commit_of_what_departs_is_its_end_here() -> None:
    departing = up_to(State.HELD) | {DEPARTING}
    assert state_of(departing, None) is State.HELD
    assert state_of(departing, Verdict.VOID) is State.VOID
    assert state_of(departing, Verdict.COMMIT) is State.MOVED
    assert state_of(up_to(State.KILLED) | {DEPARTING}, Verdict.COMMIT) is State.MOVED
    assert not restorable(Purpose.SUSPEND, State.MOVED, FORMAT)
    assert state_of(departing | marks(State.ORPHANED), Verdict.COMMIT) is State.ORPHANED


def test_a_lost_verdict_does_not_hide_that_it_ran() -> None:
    assert state_of(up_to(State.SPENT), None) is State.SPENT


def test_an_empty_ledger_counts_as_frozen() -> None:
    assert state_of(frozenset(), None) is State.FROZEN
    assert state_of(frozenset({"verdict", ".new", "note.txt"}), None) is State.FROZEN


@pytest.mark.parametrize("aside", ASIDE)
@pytest.mark.parametrize("verdict", [None, *Verdict])
def test_the_states_aside_win(aside: State, verdict: Verdict | None) -> None:
    assert state_of(up_to(State.RESTORING) | marks(aside), verdict) is aside


def test_the_last_word_among_the_states_aside() -> None:
    assert state_of(marks(State.TAINTED), Verdict.VOID) is State.TAINTED
    assert state_of(marks(State.TAINTED, State.VOID), Verdict.VOID) is State.VOID
    assert state_of(marks(State.EXPIRED, State.ORPHANED), Verdict.COMMIT) is State.ORPHANED


@given(marks_found, verdicts)
def test_any_ledger_has_a_state_and_unknown_marks_do_not_count(
    found: frozenset[str], verdict: Verdict | None
) -> None:
    known = found & {state.value for state in State}
    assert state_of(found, verdict) is state_of(known, verdict)


@given(marks_found, verdicts, st.sampled_from(Purpose))
def test_never_twice_from_one_image(found: frozenset[str], verdict: Verdict | None, purpose: Purpose) -> None:
    state = state_of(found, verdict)
    if restorable(purpose, state, FORMAT):
        assert verdict is Verdict.COMMIT
        assert purpose is Purpose.SUSPEND
        assert not found & marks(*ENDED)


@given(st.integers(0, len(MAIN)), st.integers(0, len(MAIN)))
def test_any_crash_prefix_of_a_good_life(written: int, durable: int) -> None:
    """A power cut leaves the first marks; the verdict comes between `held` and `committed`."""
    left = marks(*MAIN[: min(written, durable)])
    verdict = Verdict.COMMIT if min(written, durable) > MAIN.index(State.HELD) + 1 else None
    state = state_of(left, verdict)
    expected = MAIN[min(written, durable) - 1] if left else State.FROZEN
    assert state is expected
    assert restorable(Purpose.SUSPEND, state, FORMAT) is (state in MAY_BE_RESTORED)


@given(st.frozensets(st.sampled_from(State)), st.sampled_from(ENDED), verdicts)
def test_a_further_mark_never_makes_an_ended_record_good(
    found: frozenset[State], ended: State, verdict: Verdict | None
) -> None:
    assert not restorable(Purpose.SUSPEND, state_of(marks(*found, ended), verdict), FORMAT)


@pytest.mark.parametrize("state", State)
def test_restorable(state: State) -> None:
    assert restorable(Purpose.SUSPEND, state, FORMAT) is (state in MAY_BE_RESTORED)
    assert not restorable(Purpose.SNAPSHOT, state, FORMAT)
    assert not restorable(Purpose.SUSPEND, state, FORMAT + 1)


def test_readable_formats() -> None:
    assert readable(FORMAT)
    assert not readable(FORMAT + 1)
    assert not readable(FORMAT - 2)
    assert not readable(0)


@pytest.mark.parametrize(
    ("verdict", "alive", "frozen", "expected"),
    [
        (None, True, True, Aftermath.ROLL_BACK),
        (None, True, False, Aftermath.ROLL_BACK),
        (Verdict.VOID, True, True, Aftermath.ROLL_BACK),
        (Verdict.VOID, True, False, Aftermath.ROLL_BACK),
        (Verdict.COMMIT, False, False, Aftermath.HELD),
        (Verdict.COMMIT, False, True, Aftermath.HELD),
        (Verdict.COMMIT, True, True, Aftermath.KILL),
        (Verdict.COMMIT, True, False, Aftermath.RAN_ON),
        (None, False, False, Aftermath.DIED),
        (Verdict.VOID, False, True, Aftermath.DIED),
    ],
)
def test_aftermath(verdict: Verdict | None, alive: bool, frozen: bool, expected: Aftermath) -> None:
    assert aftermath(verdict, alive=alive, frozen=frozen) is expected


def test_the_drawing_has_every_way() -> None:
    drawn = dot()
    for before, ways in WAYS_OUT.items():
        for after in ways:
            assert f"  {before.value} -> {after.value} [" in drawn
    assert drawn.count(" -> ") == sum(map(len, WAYS_OUT.values()))
