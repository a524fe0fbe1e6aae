"""Attention and gate maps as pictures."""
