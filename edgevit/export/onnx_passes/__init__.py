"""Rewrites of an ONNX graph, one a file, in one ordered tuple."""
