"""The SavedModel target, one row."""

from __future__ import annotations

from edgevit.core.target import Precision, Target
from edgevit.core.tolerance import EXACT
from edgevit.formats.savedmodel.format import SPEC

TARGETS = (
    Target(
        "savedmodel",
        SPEC.format,
        Precision.FLOAT32,
        suffix=SPEC.suffix,
        runtimes=("tensorflow",),
        write="edgevit.formats.savedmodel.writer:write_savedmodel",
        tolerance=EXACT,
        summary="TensorFlow SavedModel folder, for servers and other converters",
        clients="TensorFlow",
    ),
)
