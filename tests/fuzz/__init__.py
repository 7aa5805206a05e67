"""Damaged images and archives without end: `make fuzz-images`, `make fuzz-archives`."""

import tests.without_bus  # noqa: F401
