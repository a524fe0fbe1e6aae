"""Rewrites of an ONNX graph, one a file; :mod:`.table` has their order."""
