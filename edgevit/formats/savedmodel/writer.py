"""Keras to a TensorFlow SavedModel folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgevit.base.errors import ExportError
from edgevit.core.metadata import SAVEDMODEL_FOLDER
from edgevit.core.target import Written
from edgevit.formats.savedmodel.options import SavedModelOptions
from edgevit.formats.savedmodel.runtime import signature_specs
from edgevit.frontend.source import Source
from edgevit.frontend.trace import check_io_dtype, trace
from edgevit.quantization.ranges import RangeRecord


def write_savedmodel(
    source: Source, options: SavedModelOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Writes one SavedModel with the signature ``serving_default(inputs) -> {name: output}``.

    Args:
        source: what to export.
        options: batch, preprocessing, input type.
        ranges: not used.
        staged: the folder; made here.

    Raises:
        ConfigError: an input type that a SavedModel has not.
        ExportError: TensorFlow cannot write it.
    """
    import tensorflow as tf

    traced = trace(source, options, check_io_dtype(options))
    traced.module.forward = traced.forward  # who loads the folder can call it
    try:
        tf.saved_model.save(traced.module, str(staged), signatures=traced.function)
    except Exception as error:  # TensorFlow's errors share no useful base class
        raise ExportError(f"{source.name}: TensorFlow cannot save it ({error}).") from None
    (staged / "fingerprint.pb").unlink(missing_ok=True)  # holds a random id; nothing reads it

    def finish(documents: Mapping[str, str]) -> None:
        for key, text in documents.items():
            place = staged / SAVEDMODEL_FOLDER / f"{key}.json"
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)

    inputs, outputs = (
        tuple(sorted(specs, key=lambda spec: names.index(spec.name)))
        for specs, names in zip(
            signature_specs(traced.function), (traced.inputs, traced.outputs), strict=True
        )
    )
    return Written(traced.steps, inputs, outputs, finish)
