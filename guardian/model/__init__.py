"""Floor 1: facts and decisions. No I/O, no clock, no environment."""
