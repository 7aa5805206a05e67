"""Damaged images and archives without end: `make fuzz-images`, `make fuzz-archives`."""
