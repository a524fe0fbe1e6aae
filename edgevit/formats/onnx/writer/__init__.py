"""Keras to ONNX files.

Raises:
    MissingDependencyError: libraries that every file of this folder needs are missing.
"""

from edgevit.base.packages import require
from edgevit.formats.onnx.format import SPEC

require("An ONNX export", SPEC.writer_needs)
