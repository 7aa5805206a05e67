"""Benchmarks: ratios and bars, measured in one run."""
