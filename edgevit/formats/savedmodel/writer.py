"""Keras to a TensorFlow SavedModel folder."""

from __future__ import annotations

from pathlib import Path

from edgevit.base.errors import ExportError
from edgevit.frontend.source import ExportOptions, Source
from edgevit.frontend.trace import check_io_dtype, trace


def export_savedmodel(source: Source, options: ExportOptions, folder: Path) -> tuple[str, ...]:
    """Writes one SavedModel with the signature ``serving_default(images) -> {name: output}``.

    Args:
        source: what to export.
        options: batch, preprocessing, input type.
        folder: staged place; made here.

    Returns:
        Steps taken.

    Raises:
        ExportError: TensorFlow cannot write it.
    """
    import tensorflow as tf

    traced = trace(source, options, check_io_dtype(options))
    try:
        tf.saved_model.save(traced.module, str(folder), signatures=traced.function)
    except Exception as error:  # TensorFlow's errors share no useful base class
        raise ExportError(f"{source.name}: TensorFlow cannot save it ({error}).") from None
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # holds a random id; nothing reads it
    return traced.steps
