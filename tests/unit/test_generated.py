"""What is generated from the code is current, and says everything the code knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import TOP, everything, labels_page
from guardian.model.labels import LABELS


@pytest.mark.parametrize("path", everything(), ids=lambda path: str(path.relative_to(TOP)))
def test_it_is_current(path: Path) -> None:
    assert path.read_text() == everything()[path], "run: make format"


def test_every_label_is_documented() -> None:
    page = labels_page()
    assert all(f"| `{label.name}` |" in page for label in LABELS)
