"""Archives that arrive: everything in them is looked at before anything is made."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guardian.model.config import defaults
from guardian.model.errors import BadInput
from guardian.work import arrival
from guardian.work.arrival import Terms
from guardian.work.host import Host
from tests.fuzz.archive_damage import Draft
from tests.fuzz.whole_archive import Whole, whole

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def original(tmp_path: Path) -> Whole:
    (tmp_path / "made of").mkdir()
    return whole(tmp_path / "made of")


def vouched(original: Whole, name: str, change: Callable[[Any], Any]) -> bytes:
    """The archive with another description, which its manifest agrees with."""
    draft = Draft(original, random.Random(0), "")
    for place, piece in enumerate(draft.pieces):
        if piece.name == name:
            draft.replace(place, json.dumps(change(json.loads(piece.data))).encode())
    draft.vouched = True
    return draft.built()


def arrived(folder: Path, data: bytes) -> str:
    host = Host.of(defaults())
    host.ledger.store = folder / "store"
    try:
        with arrival.unpacked(host, io.BytesIO(data), Terms(), folder / "store" / "new") as found:
            return found.name
    finally:
        assert os.listdir(folder / "store") == []


def test_what_is_good_arrives(tmp_path: Path, original: Whole) -> None:
    assert arrived(tmp_path, vouched(original, "guardian/record.json", lambda record: record)) == "app"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("guardian/record.json", lambda data: data | {"taken": float("inf")}),
        ("guardian/record.json", lambda data: data | {"taken": 1e300}),
        ("guardian/record.json", lambda data: data | {"oom_score_adj": float("inf")}),
        ("guardian/record.json", lambda data: data | {"container": data["container"] | {"labels": [1]}}),
        ("guardian/record.json", lambda data: data | {"container": data["container"] | {"ipc_mode": None}}),
        ("guardian/connections.json", lambda data: data | {"connections": [1]}),
        ("guardian/connections.json", lambda _: []),
        ("guardian/container.json", lambda data: data | {"HostConfig": []}),
        ("guardian/volumes.json", lambda data: [data]),
        ("deleted.files", lambda data: [*data, "\ud800"]),
    ],
)
def test_descriptions_of_another_shape(
    tmp_path: Path, original: Whole, name: str, change: Callable[[Any], Any]
) -> None:
    with pytest.raises(BadInput):
        arrived(tmp_path, vouched(original, name, change))


def test_a_few_of_the_damaged_archives() -> None:
    """`make fuzz-archives` in short; in a process of its own, since it watches all that is opened."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.archives"],
        cwd=_REPOSITORY,
        env={**os.environ, "ROUNDS": "300", "JOBS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "300 archives" in told.stdout
    assert "arrival" in told.stdout
