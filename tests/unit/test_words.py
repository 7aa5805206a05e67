"""Words that programs read, outcomes and states, are documented wherever they come out, and no others are."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from guardian.host import gate
from guardian.model.config import defaults
from guardian.model.outcome import Outcome
from guardian.model.states import State
from guardian.work import overview
from guardian.work.host import Host
from tests.unit.samples import container

_TOP = Path(__file__).resolve().parents[2]
_BUS = (_TOP / "docs" / "dbus.md").read_text()
_JSON = (_TOP / "docs" / "json.md").read_text()
_XML = (_TOP / "guardian" / "faces" / "org.dockerguardian.Guardian1.xml").read_text()
_OUTCOMES = {str(word) for word in vars(Outcome).values() if isinstance(word, Outcome)}


def _between(text: str, begin: str, end: str) -> str:
    return text.partition(begin)[2].partition(end)[0]


def _in_code(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def _in_words(text: str) -> set[str]:
    """Of a list of words; what is said of them, in brackets, is none."""
    return set(re.findall(r"\w+", re.sub(r"or one that is.*", "", text, flags=re.DOTALL)))


class _Elsewhere:
    def __init__(self, state: State | None) -> None:
        self._state = state

    def elsewhere(self, _container_id: str) -> _Elsewhere | None:
        return None if self._state is None else self

    def state(self) -> State | None:
        return self._state


def _states(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What `List` may say of a container."""
    found = set()
    truths = (False, True)
    for running, paused, held, waits in itertools.product(truths, repeat=4):
        monkeypatch.setattr(gate, "held", lambda _, held=held: held)
        for state in (None, State.MOVED, State.ARRIVED):
            host = Host(defaults(), _Elsewhere(state))  # type: ignore[arg-type]
            found.add(overview._state(host, container(running=running, paused=paused), waits=waits))
    return found


def test_outcomes() -> None:
    assert {"resumed", "cold", "removed"} <= _OUTCOMES
    assert _in_code(_between(_BUS, "`outcome` (s:", "or one yet to come")) == _OUTCOMES
    assert _in_code(_between(_JSON, "| `outcome` | string |", "\n")) == _OUTCOMES
    assert _in_words(_between(_XML, "outcome (s:", "), reason")) == _OUTCOMES


def test_states(monkeypatch: pytest.MonkeyPatch) -> None:
    states = _states(monkeypatch)
    assert {"running", "moved", "arriving"} <= states
    assert _in_code(_between(_BUS, "`state` (s:", "`savable`")) == states
    assert _in_code(_between(_JSON, "| `state` | string |", "\n")) == states
    assert _in_words(_between(_XML, "state (s:", "), savable")) == states
