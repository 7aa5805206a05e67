"""What a target of the fast campaign is: one parser, how it is called with bytes, and what it may answer."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from guardian.model.errors import GuardianError
from tests.fuzz.fast.outcome import Rejected


@dataclasses.dataclass(frozen=True)
class Target:
    """One parser.

    `run` takes an input and returns its outcome in a word or two; what it raises is a crash. `seeds` are real samples,
    `words` what a mutation may put in. `tree`: inputs are JSON and are damaged as such, too. `share`
    of the inputs asked for are run, where each takes long.
    """

    name: str
    run: Callable[[bytes], str]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    tree: bool = False
    longest: int = 2048
    share: float = 1.0


@contextlib.contextmanager
def refusing(*documented: type[Exception]) -> Iterator[None]:
    """Turn the documented exceptions (GuardianError always is one) into Rejected."""
    expected: tuple[type[Exception], ...] = (GuardianError, *documented)
    try:
        yield
    except expected as error:
        said = str(error)
        assert len(said) < 4000, f"a message of {len(said)} characters"
        raise Rejected(type(error).__name__) from error


def text(data: bytes) -> str:
    """As files in /proc and labels are read: any byte may come."""
    return data.decode("utf-8", "surrogateescape")


@functools.cache
def scratch() -> Path:
    """A folder for files, in memory where the campaign says so (TMPDIR), and removed by it: atheris leaves no time."""
    made = tempfile.TemporaryDirectory()
    atexit.register(made.cleanup)
    return Path(made.name)


def loaded(data: bytes) -> Any:
    """The JSON of an input, for parsers that take what json.loads gives; Rejected where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Rejected("no JSON") from error


def coded(value: object) -> bytes:
    """A seed of JSON."""
    return json.dumps(value).encode()


DEEP = b"[" * 1100
"""More than a parser of JSON that calls itself can follow."""
JSON_WORDS = (
    *(b"null", b"true", b"false", b"-1", b"0", b"1e999", b"NaN", b"-Infinity", b"9" * 400, b"9" * 5000),
    *(
        b'"\\ud800"',
        b'"\\u0000"',
        b'""',
        b"[]",
        b"{}",
        b"1.5",
        str(1 << 63).encode(),
        b"[[[[[[[[",
        b'"/"',
        b'".."',
    ),
)
