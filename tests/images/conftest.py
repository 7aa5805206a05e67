"""pycriu, which is not on PyPI, put on the path before the tests are read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import settings

_SCRIPT = Path(__file__).resolve().parents[1] / "pycriu.sh"
sys.path.append(subprocess.run([_SCRIPT], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
settings.register_profile("images", deadline=None, database=None, derandomize=True, max_examples=150)
settings.load_profile("images")
