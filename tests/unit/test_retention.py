"""What is kept of a container's checkpoints."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guardian.model.retention import ORPHANS, RECORDS, Keep, Kept, Limits, decide, too_much
from guardian.model.states import FORMAT, Purpose, State, restorable

_CHECKPOINTS = st.lists(
    st.builds(
        Kept,
        st.sampled_from(State),
        st.sampled_from(Purpose),
        st.booleans(),
        st.floats(0, 1e6),
        st.integers(0, 1 << 40),
    ),
    max_size=20,
)
_LIMITS = st.builds(Limits, st.integers(0, 3), st.sampled_from([0.0, 10.0, 1e5]), st.integers(0, 1 << 41))


@given(_CHECKPOINTS, _LIMITS)
def test_nothing_whose_end_is_not_known_is_touched(checkpoints: list[Kept], limits: Limits) -> None:
    for item, keep in zip(checkpoints, decide(checkpoints, limits), strict=True):
        if not item.ended:
            assert keep is Keep.ALL
            assert item not in [checkpoints[place] for place in too_much([item], limits)]
        if restorable(item.purpose, item.state, FORMAT) and not item.ended:
            assert keep is Keep.ALL


@given(_CHECKPOINTS, _LIMITS)
def test_what_is_kept_is_bounded(checkpoints: list[Kept], limits: Limits) -> None:
    decided = list(zip(checkpoints, decide(checkpoints, limits), strict=True))
    images = [keep for item, keep in decided if item.ended and item.purpose is Purpose.SUSPEND]
    assert sum(keep is not Keep.NOTHING for keep in images) <= RECORDS
    assert sum(keep is Keep.ALL for keep in images) <= ORPHANS
    snapshots = [keep for item, keep in decided if item.ended and item.purpose is Purpose.SNAPSHOT]
    assert not limits.snapshots or sum(keep is Keep.ALL for keep in snapshots) <= limits.snapshots


@given(_CHECKPOINTS, _LIMITS)
def test_what_is_too_much_goes_oldest_first_and_no_more_than_needed(
    checkpoints: list[Kept], limits: Limits
) -> None:
    gone = too_much(checkpoints, limits)
    assert all(checkpoints[place].goes for place in gone)
    left = sum(item.size for place, item in enumerate(checkpoints) if item.goes and place not in gone)
    if limits.size:
        assert left <= limits.size
    if gone:
        assert left + checkpoints[gone[-1]].size > limits.size


def test_an_image_goes_when_its_container_came_back() -> None:
    assert decide([Kept(State.DONE, Purpose.SUSPEND, ended=True)], Limits()) == [Keep.RECORD]
    assert decide([Kept(State.ORPHANED, Purpose.SUSPEND, ended=True)], Limits()) == [Keep.ALL]


def test_snapshots_go_by_count_and_age() -> None:
    three = [Kept(State.DONE, Purpose.SNAPSHOT, ended=True, age=age) for age in (30.0, 20.0, 10.0)]
    assert decide(three, Limits()) == [Keep.ALL] * 3
    assert decide(three, Limits(snapshots=2)) == [Keep.NOTHING, Keep.ALL, Keep.ALL]
    assert decide(three, Limits(age=15.0)) == [Keep.NOTHING, Keep.NOTHING, Keep.ALL]
