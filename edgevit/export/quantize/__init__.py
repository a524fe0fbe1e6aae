"""Quantisation recipes, activation ranges and the mixed-precision search."""
