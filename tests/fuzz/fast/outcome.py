"""What an input came to beside being accepted; imports nothing of guardian's, which is instrumented later."""

from __future__ import annotations


class Rejected(Exception):
    """The input was refused as documented; says how."""
