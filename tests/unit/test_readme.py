"""README shows lines that are tested where they are documented."""

from __future__ import annotations

import re
from pathlib import Path

_TOP = Path(__file__).resolve().parents[2]


def _lines(name: str) -> set[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", (_TOP / name).read_text(), re.DOTALL | re.MULTILINE)
    return {line for block in blocks for line in block.splitlines() if line.startswith("# ")}


def test_busctl_lines_of_the_readme_are_those_that_a_host_test_runs() -> None:
    shown = _lines("README.md")
    assert len(shown) >= 4
    assert shown <= _lines("docs/dbus.md")
