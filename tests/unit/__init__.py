"""Tests of floor 1, and of the house itself: nothing here needs an outside."""
