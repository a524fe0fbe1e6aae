"""What one inference of a file must do, by its format."""

from __future__ import annotations

from pathlib import Path

from edgevit.core.roofline import Work
from edgevit.core.target import Format
from edgevit.formats.onnx.runtime import cost as onnx
from edgevit.formats.registry import detect_format
from edgevit.formats.tflite.runtime import cost as tflite


def count_work(path: Path, batch: int = 1) -> Work | None:
    """What one inference of a file must do; None for a SavedModel, which is not counted.

    Args:
        path: the file.
        batch: images, where the file leaves that free.

    Raises:
        ModelFileError: it cannot be read.
        MissingDependencyError: the package that reads this format is not installed.
    """
    counters = {Format.TFLITE: tflite.count_cost, Format.ONNX: onnx.count_cost}
    counter = counters.get(detect_format(path))
    return counter(path, batch) if counter else None
