"""Hypothesis as this suite wants it: the same examples every time, nothing left in the checkout."""

from hypothesis import settings

settings.register_profile("guardian", deadline=None, database=None, derandomize=True, max_examples=75)
settings.load_profile("guardian")
