"""Recipes, and the plain Keras fit that follows them."""
