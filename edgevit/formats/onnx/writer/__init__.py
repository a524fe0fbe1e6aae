"""Keras to ONNX files.

Raises:
    MissingDependencyError: one of the libraries that every file of this folder needs is missing.
"""

from importlib.util import find_spec

from edgevit.base.errors import MissingDependencyError

for _library in ("onnx", "onnx_ir", "onnxscript", "tf2onnx"):
    if find_spec(_library) is None:
        raise MissingDependencyError(_library, "onnx", "An ONNX export")
