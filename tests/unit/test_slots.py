"""Who goes first when dumps wait for a slot."""

from __future__ import annotations

import threading
import time

from guardian.work.slots import Rank, Slots


def test_the_most_valuable_goes_first() -> None:
    slots, order = Slots(1), []
    assert slots.acquire((0, 0), limit=1)
    waiting = [(0, 500), (-5, 900), (0, 20), (-5, 10)]

    def one(rank: Rank) -> None:
        assert slots.acquire(rank, limit=10)
        order.append(rank)
        slots.release()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in waiting]
    for thread in threads:
        thread.start()
    while len(slots._waiting) < len(waiting):
        time.sleep(0.001)
    slots.release()
    for thread in threads:
        thread.join()
    assert order == sorted(waiting)


def test_whoever_is_there_first_lets_those_of_more_worth_pass() -> None:
    """For a while, and as long as there are not slots enough for all of them."""
    slots, order = Slots(1), []
    for rank in ((-9, 500), (0, 20)):
        slots.expect(rank)

    def one(rank: Rank) -> None:
        assert slots.acquire(rank, limit=10)
        order.append(rank)
        slots.release()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in ((0, 20), (-9, 500))]
    threads[0].start()
    while not slots._waiting:
        time.sleep(0.001)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert order == [(-9, 500), (0, 20)]
    slots.expect((-9, 500))
    slots.forget((-9, 500))
    begun = time.monotonic()
    assert slots.acquire((0, 20), limit=10)
    assert time.monotonic() - begun < 0.5, "nobody is expected any more"
    slots.release()
    slots.expect((-9, 500))
    assert slots.acquire((0, 20), limit=10), "it does not come"


def test_as_many_at_once_as_there_are_and_whoever_gives_up_stands_in_nobodys_way() -> None:
    slots = Slots(2)
    assert slots.acquire((0, 1), limit=0)
    assert slots.acquire((0, 1), limit=0)
    assert not slots.acquire((-9, 1), limit=0.01)
    slots.release()
    assert slots.acquire((0, 2), limit=0)
    assert not slots.acquire((0, 2), limit=0)
