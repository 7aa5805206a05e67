"""Damaged images without end: `make fuzz-images`."""
