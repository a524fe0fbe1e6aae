"""Class folders beside a model: whose classes they are, and what the model's are called."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgevit.data.calibration import CalibrationSample
from edgevit.data.evaluation import renumber
from edgevit.frontend.source import Source


def use_labels(source: Source, sample: CalibrationSample) -> tuple[Source, np.ndarray | None]:
    """Names for classes that have none, and the labels of a sample in the model's own numbers.

    Args:
        source: the model.
        sample: of class folders, or without labels.

    Returns:
        (the source, int64 N; None where the folders are not the model's classes).
    """
    if sample.labels is None:
        return source, None
    told = [output for output in source.signature.outputs if output.names_classes]
    if not told or len(told[0].shape) != 2:
        return source, None
    count = 2 if told[0].shape[-1] == 1 else told[0].shape[-1]
    if source.class_names:
        return source, renumber(sample.labels, sample.class_names, source.class_names)
    if len(sample.class_names) != count:
        return source, None
    return replace(source, class_names=sample.class_names), sample.labels
