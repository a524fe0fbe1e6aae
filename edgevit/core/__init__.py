"""The nouns. The standard library and numpy only."""
