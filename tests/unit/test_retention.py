"""What is kept of a container's checkpoints."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guardian.model.retention import ORPHANS, RECORDS, Keep, decide
from guardian.model.states import FORMAT, Purpose, State, restorable

_CHECKPOINTS = st.lists(
    st.tuples(st.sampled_from(State), st.sampled_from(Purpose), st.booleans()), max_size=20
)


@given(_CHECKPOINTS)
def test_nothing_whose_end_is_not_known_is_touched(checkpoints: list[tuple[State, Purpose, bool]]) -> None:
    for (state, purpose, ended), keep in zip(checkpoints, decide(checkpoints), strict=True):
        if not ended or purpose is Purpose.SNAPSHOT:
            assert keep is Keep.ALL
        if restorable(purpose, state, FORMAT) and not ended:
            assert keep is Keep.ALL


@given(_CHECKPOINTS)
def test_what_is_kept_is_bounded(checkpoints: list[tuple[State, Purpose, bool]]) -> None:
    ended = [
        keep
        for (_, purpose, over), keep in zip(checkpoints, decide(checkpoints), strict=True)
        if over and purpose is Purpose.SUSPEND
    ]
    assert sum(keep is not Keep.NOTHING for keep in ended) <= RECORDS
    assert sum(keep is Keep.ALL for keep in ended) <= ORPHANS


def test_an_image_goes_when_its_container_came_back() -> None:
    assert decide([(State.DONE, Purpose.SUSPEND, True)]) == [Keep.RECORD]
    assert decide([(State.ORPHANED, Purpose.SUSPEND, True)]) == [Keep.ALL]
