"""Floor 2: the outside, one room each. Acts on what it is told, decides nothing."""
