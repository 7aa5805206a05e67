"""Moves between two hosts: faults at every step, and what takes longer than the host suite may."""
