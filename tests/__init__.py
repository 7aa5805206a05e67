"""Tests: unit (no outside), host (a whole machine in a container), vm (a virtual machine)."""
