"""Rewrites of a float TFLite graph before it is quantised, one a file; see surgery.py."""
