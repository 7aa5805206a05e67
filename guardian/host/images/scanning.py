"""Where an expression matches in stretches of memory: in windows without a copy, on all CPUs.

As `grep -o` does it: leftmost, not overlapping. A match is at most MOST_MATCH bytes long: of a longer one the most that
matches within them is taken. Each place is tried with at least so many bytes behind it, so a window never cuts a match.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from guardian.host.images.crew import Crew
from guardian.host.images.memory import Where
from guardian.host.images.pcre2 import NOT_AT_BEGIN, NOT_AT_END, Expression, Matcher, too_long
from guardian.host.images.stretches import Pages, Stretch
from guardian.model.errors import BadInput

MOST_MATCH = 64 << 10
"""Bytes of a match, and of a fixed string."""
_WINDOW = 1 << 20
_WORTH = 64 << 10
"""Bytes of a run that is looked through where it lies; many shorter ones are put together first."""
_SPAN = 8 << 20
"""Bytes that a thread looks through at a time."""
_MOST_SPANS = 1024
_MOST_FOUND = 10_000
"""Matches that are kept before they are passed on."""
PATIENCE = 30.0
"""Seconds that a span may take: at 0.3 MB/s."""


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """A part of a stretch: matches that begin in it are looked for."""

    stretch: Stretch
    begin: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """Matches as (begin, end), and the place from which on to look for the next one."""

    matches: Sequence[tuple[int, int]]
    position: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Window:
    """Bytes at `data` of this process: those of the stretch from `base` on. Matches that begin before `limit` count."""

    data: int
    base: int
    length: int
    limit: int
    options: int


class Scanner:
    """Looks for one expression. A context manager; `fixed` strings are given as they are."""

    def __init__(self, pattern: bytes, *, fixed: bool) -> None:
        if fixed and len(pattern) > MOST_MATCH:
            raise BadInput("the text to search for is too long", f"more than {MOST_MATCH} bytes")
        self._expression = Expression(pattern, fixed=fixed)
        self._reach = len(pattern) if fixed else MOST_MATCH
        self.pages = Pages()
        self._crew: Crew[Sequence[Span], Sequence[Found]] = Crew(
            self._scan, patience=PATIENCE, too_slow=lambda: too_long(f"more than {PATIENCE:.0f} s")
        )

    def __enter__(self) -> Self:
        self._crew.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.__exit__()
        if not self._crew.hangs:  # else it may still read them
            self.pages.__exit__()

    def matches(self, stretches: Iterable[Stretch]) -> Iterator[tuple[Stretch, int, int]]:
        """Every match in the stretches, one stretch after the other."""
        previous: Stretch | None = None
        position = 0
        for spans, answers in self._crew.all(_portions(stretches)):
            for span, answer in zip(spans, answers, strict=True):
                if span.stretch is not previous:
                    previous, position = span.stretch, span.begin
                if position >= span.end:
                    continue  # a match of the span before covers this one
                found = answer if position <= span.begin else self._again(span, position)
                while True:
                    for begin, end in found.matches:
                        yield span.stretch, begin, end
                    position = found.position
                    if position >= span.end:
                        break
                    found = self._again(span, position)

    def _again(self, span: Span, position: int) -> Found:
        return self._crew.one([Span(span.stretch, position, span.end)])[0]

    def _scan(self, spans: Sequence[Span]) -> Sequence[Found]:
        left = _MOST_FOUND
        answers = []
        with contextlib.closing(Matcher(self._expression)) as matcher:
            for span in spans:
                found = self._search(matcher, span, left) if left else Found((), span.begin)
                left -= len(found.matches)
                answers.append(found)
        return answers

    def _search(self, matcher: Matcher, span: Span, most: int) -> Found:
        """The matches that begin in a span, at most so many."""
        matches: list[tuple[int, int]] = []
        position, wanted = span.begin, _WINDOW
        buffer = bytearray()
        window: _Window | None = None
        while position < span.end and len(matches) < most:
            if window is None or position >= window.limit:
                window = self._window(span.stretch, position, min(wanted, span.end - position), buffer)
                wanted = min(_WINDOW, wanted * 2)
            found = matcher.find(window.data, window.length, position - window.base, window.options)
            begin = found[0] + window.base if found is not None else window.limit
            if found is None or begin >= window.limit:
                position = window.limit
                continue
            end = found[1] + window.base
            if end - begin > self._reach:
                bounded = self._bounded(matcher, window, begin)
                # What is longer than a match may be would be looked through again and again in a large window.
                window, wanted = None, 2 * self._reach
                if bounded <= begin:
                    position = begin + 1
                    continue
                end = bounded
            if begin >= span.end:
                position = span.end
                continue
            matches.append((begin, end))
            position = max(end, begin + 1)
        if position >= span.end:  # only a match reaches into the next span, not what was looked at
            position = max(span.end, matches[-1][1] if matches else 0)
        return Found(matches, position)

    def _bounded(self, matcher: Matcher, window: _Window, begin: int) -> int:
        """The end of the match at a place where no more bytes than allowed are seen; `begin` where there is none."""
        start = begin - window.base
        cut = min(window.length, start + self._reach)
        found = matcher.find(window.data, cut, start, window.options | NOT_AT_END)
        return found[1] + window.base if found is not None and found[0] == start else begin

    def _window(self, stretch: Stretch, position: int, wanted: int, buffer: bytearray) -> _Window:
        """Bytes around a place: in the file where they lie side by side there, else put together in the buffer."""
        base = max(stretch.begin, position - self._expression.lookbehind)
        run = stretch.runs[stretch.place(base)]
        most = position + max(wanted, 1) + self._reach
        left = run.end - position
        if run.where is Where.PAGES and (left > max(self._reach, _WORTH) or run.end == stretch.end):
            end = min(run.end, most)
            data = self.pages.address(run) + base - run.address
        else:
            end = self._seam(stretch, position, most)
            if len(buffer) < end - base:
                buffer.extend(bytes(end - base - len(buffer)))
            data = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            stretch.copy(self.pages, base, end, data)
        last = end == stretch.end
        options = (0 if base == stretch.begin else NOT_AT_BEGIN) | (0 if last else NOT_AT_END)
        return _Window(data, base, end - base, end if last else end - self._reach, options)

    def _seam(self, stretch: Stretch, position: int, most: int) -> int:
        """The end of a window that is copied: soon after a run begins that is worth a window of its own."""
        place = stretch.place(position)
        while place < len(stretch.runs) and stretch.runs[place].address < most:
            run = stretch.runs[place]
            begin = max(position, run.address)
            if run.where is Where.PAGES and run.end - begin > max(4 * self._reach, 2 * _WORTH):
                return min(stretch.end, begin + 2 * self._reach + 1)
            place += 1
        return min(stretch.end, most)


def _portions(stretches: Iterable[Stretch]) -> Iterator[Sequence[Span]]:
    """The stretches in portions for one thread at a time."""
    portion: list[Span] = []
    size = 0
    for stretch in stretches:
        for begin in range(stretch.begin, stretch.end, _SPAN):
            end = min(stretch.end, begin + _SPAN)
            portion.append(Span(stretch, begin, end))
            size += end - begin
            if size >= _SPAN or len(portion) >= _MOST_SPANS:
                yield portion
                portion, size = [], 0
    if portion:
        yield portion
