"""Imported for its effect: pystemd is there for whoever imports it, and no bus is.

From PyPI it has to be compiled; and this machine's systemd is no business of what runs outside of test hosts.
"""

import sys
import types


class _NoBus:
    def __init__(self) -> None:
        raise OSError("outside of a test host no systemd is asked")


_PYSTEMD = types.ModuleType("pystemd.dbuslib")
_PYSTEMD.DBus = _NoBus  # type: ignore[attr-defined]
_PYSTEMD.path_encode = lambda *_: b""  # type: ignore[attr-defined]
sys.modules["pystemd"] = types.ModuleType("pystemd")
sys.modules["pystemd.dbuslib"] = _PYSTEMD
