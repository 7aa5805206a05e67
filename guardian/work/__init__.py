"""Floor 3: what guardian does. A use case reads like the sentence that describes it."""
