"""Hypothesis as this suite wants it: the same examples every time, nothing left in the checkout. And no systemd."""

import sys
import types

from hypothesis import settings

settings.register_profile("guardian", deadline=None, database=None, derandomize=True, max_examples=75)
settings.load_profile("guardian")


class _NoBus:
    def __init__(self) -> None:
        raise OSError("a unit test asks no systemd")


# pystemd from PyPI has to be compiled; and this machine's systemd is none of a unit test's business.
_PYSTEMD = types.ModuleType("pystemd.dbuslib")
_PYSTEMD.DBus = _NoBus  # type: ignore[attr-defined]
_PYSTEMD.path_encode = lambda *_: b""  # type: ignore[attr-defined]
sys.modules["pystemd"] = types.ModuleType("pystemd")
sys.modules["pystemd.dbuslib"] = _PYSTEMD
