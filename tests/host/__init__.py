"""Tests on real hosts: systemd, dockerd, CRIU."""
