"""Every field that checkpointctl and crit show, beside where guardianctl shows it: docs/comparison.md, and its test."""
