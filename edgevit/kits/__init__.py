"""Kits: a folder that runs an exported file where edgevit is not, with a self-test inside."""
