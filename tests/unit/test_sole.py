"""Two workers never live at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from guardian.host import paths, sole

TOP = Path(__file__).resolve().parents[2]
_SECOND = """
import sys
from pathlib import Path
from guardian.host import paths, sole
paths.RUN, sole._LOCK = Path(sys.argv[1]), Path(sys.argv[1], "worker.lock")
if sys.argv[2] == "wait":
    sole.wait()
    print("alone")
else:
    print(sole.at_once())
"""


def _second(folder: Path, how: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", _SECOND, str(folder), how]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=TOP)


def test_a_second_one_leaves_or_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN", tmp_path)
    monkeypatch.setattr(sole, "_LOCK", tmp_path / "worker.lock")
    assert sole.at_once()
    assert _second(tmp_path, "at once").communicate(timeout=20)[0] == "False\n"
    waiting = _second(tmp_path, "wait")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.communicate(timeout=1)
    waiting.kill()
    waiting.communicate()


def test_the_next_one_comes_when_it_has_ended(tmp_path: Path) -> None:
    first = _second(tmp_path, "at once")
    assert first.communicate(timeout=20)[0] == "True\n"
    assert _second(tmp_path, "wait").communicate(timeout=20)[0] == "alone\n"
