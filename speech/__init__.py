"""Sound: opening it, its features, cutting it at pauses."""
