"""The float Keras model speaks first: golden images and its logits."""

from __future__ import annotations

import numpy as np

from edgevit.core.errors import ExportError
from edgevit.core.probe_images import draw_images
from edgevit.core.reference import COUNT, ReferenceSet
from edgevit.export.source import Source

BATCH = 32
PIXELS = 256 * 32 * 32  # fewer images where they are larger, so that an export stays quick


def record_reference(source: Source, count: int | None = None, seed: int = 0) -> ReferenceSet:
    """Draws golden images and records what the float network says of them.

    Preprocessing runs in numpy, so that an error in the exported graph's own preprocessing shows.

    Args:
        source: the model.
        count: images; None is 256, fewer for large ones (at least 32).
        seed: of the drawing.

    Raises:
        ExportError: a logit is not finite: the weights are damaged.
    """
    rows, columns = source.preprocess.input_size
    if count is None:
        count = max(32, min(COUNT, PIXELS // (rows * columns)))
    images = draw_images(count, (rows, columns), seed)
    logits = float_logits(source, images)
    if not np.isfinite(logits).all():
        raise ExportError(
            f"{source.name}: the float model itself answers NaN or infinity on drawn images, so "
            "its weights are damaged. Nothing was exported."
        )
    return ReferenceSet(images, logits, seed)


def float_logits(source: Source, images: np.ndarray) -> np.ndarray:
    """What the float Keras network says of raw images. uint8 B H W 3 -> float32 B classes."""
    from keras import ops

    parts = []
    for start in range(0, len(images), BATCH):
        entering = source.preprocess.apply(images[start : start + BATCH])
        parts.append(ops.convert_to_numpy(source.network(entering, training=False)["logits"]))
    return np.concatenate(parts).astype(np.float32)
