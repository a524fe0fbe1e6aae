"""Choosing ranges, levels and precisions. Knows no file format."""
