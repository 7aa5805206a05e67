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


def test_as_many_at_once_as_there_are_and_whoever_gives_up_stands_in_nobodys_way() -> None:
    slots = Slots(2)
    assert slots.acquire((0, 1), limit=0)
    assert slots.acquire((0, 1), limit=0)
    assert not slots.acquire((-9, 1), limit=0.01)
    slots.release()
    assert slots.acquire((0, 2), limit=0)
    assert not slots.acquire((0, 2), limit=0)
