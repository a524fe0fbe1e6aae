"""Frozen recipes and the plain Keras fit that carries them out."""
