"""A target, a runtime and an architecture for edgevit."""
