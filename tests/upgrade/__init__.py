"""The engine upgraded under running containers: `make test-upgrade`."""
