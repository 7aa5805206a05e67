"""The gate of a holder: opened again and again until the holder has passed it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from guardian.host import gate, paths

ID = "a" * 64


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The holder's end of a gate."""
    monkeypatch.setattr(paths, "HOLDERS", tmp_path)
    (tmp_path / ID).mkdir()
    os.mkfifo(tmp_path / ID / "gate")
    return os.open(tmp_path / ID / "gate", os.O_RDONLY | os.O_NONBLOCK)


def test_it_is_opened(reader: int) -> None:
    gate.open_gate(ID)
    assert os.read(reader, 16) == b"go\n"
    os.close(reader)


def test_nobody_is_there(reader: int) -> None:
    os.close(reader)
    gate.open_gate(ID)
    gate.open_gate("b" * 64)


def test_the_holder_passes_it_between_open_and_write(reader: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen once in some thousand restores: it must not cost the container its memory."""
    real = os.open

    def opened(*arguments: Any) -> int:
        descriptor = real(*arguments)
        os.close(reader)
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    gate.open_gate(ID)
