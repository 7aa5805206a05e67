"""Looking at a host: what a check finds is kept, and one that fails is a finding itself."""

from __future__ import annotations

import types
from collections.abc import Iterator

from guardian.model.config import defaults
from guardian.model.finding import Finding, Severity, worst
from guardian.work.doctor.examine import examine
from guardian.work.host import Host

HOST = Host.of(defaults())


def finding(severity: Severity = Severity.NOTE, name: str = "made-up") -> Finding:
    return Finding(name, severity, "it is made up", "a test wants it", "nothing to do")


def check(name: str, *findings: Finding, error: Exception | None = None) -> types.ModuleType:
    """A module that finds these, and then fails with `error`."""

    def look(_host: Host) -> Iterator[Finding]:
        yield from findings
        if error is not None:
            raise error

    made = types.ModuleType(f"guardian.work.doctor.{name}")
    made.look = look  # type: ignore[attr-defined]
    return made


def test_what_is_found_comes_in_the_order_of_the_checks() -> None:
    one, two, three = finding(name="one"), finding(name="two"), finding(name="three")
    assert list(examine(HOST, [check("a", one, two), check("b"), check("c", three)])) == [one, two, three]


def test_a_check_that_fails_is_a_finding() -> None:
    before, after = finding(name="before"), finding(name="after")
    failing = check("drop_in", before, error=OSError("no such\nthing"))
    first, failed, last = examine(HOST, [failing, check("b", after)])
    assert (first, last) == (before, after)
    assert failed.name == "drop-in"
    assert failed.severity is Severity.WARNING
    assert failed.what == "could not be looked at: no such?thing"


def test_an_error_without_words_is_named() -> None:
    (failed,) = examine(HOST, [check("clock", error=ValueError())])
    assert "ValueError" in failed.what


def test_the_worst() -> None:
    assert worst([]) is None
    assert worst([finding()]) is Severity.NOTE
    assert worst([finding(), finding(Severity.ERROR), finding(Severity.WARNING)]) is Severity.ERROR
    assert worst([finding(), finding(Severity.WARNING)]) is Severity.WARNING


def test_json() -> None:
    assert finding(Severity.ERROR).to_json() == {
        "name": "made-up",
        "severity": "error",
        "what": "it is made up",
        "why": "a test wants it",
        "cure": "nothing to do",
    }
