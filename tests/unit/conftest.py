"""Hypothesis as this suite wants it: the same examples every time, nothing left in the checkout. And no systemd."""

from hypothesis import settings

import tests.without_bus  # noqa: F401

settings.register_profile("guardian", deadline=None, database=None, derandomize=True, max_examples=75)
settings.load_profile("guardian")
