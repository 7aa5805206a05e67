"""`python -m tests.fuzz.fast.replay`: what is kept of earlier campaigns, and the samples, into every target again.

In a process of its own: targets stand in for paths. Prints how many inputs there were, and what crashed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

from tests.fuzz.fast.engine import corpus
from tests.fuzz.fast.outcome import Rejected
from tests.fuzz.fast.target import Target
from tests.fuzz.fast.targets import TARGETS


def _inputs(target: Target) -> Iterator[bytes]:
    yield b""
    yield from target.seeds
    yield from corpus(target.name)


def main() -> int:
    """Replay; exit status 1 where anything crashed."""
    logging.disable(logging.CRITICAL)
    count, crashes = 0, 0
    for target in TARGETS.values():
        for data in _inputs(target):
            count += 1
            try:
                target.run(data)
            except Rejected:
                continue
            except Exception as error:  # noqa: BLE001 - whatever comes out is what is looked for
                crashes += 1
                print(f"{target.name}: {error!r:.300} of {data[:100]!r}")
    print(f"{count} inputs, {len(TARGETS)} targets, {crashes} crashes")
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
