"""The main job shown on a host made on the spot: `make demo`."""
