"""The float Keras model speaks first: golden images and its logits."""

from __future__ import annotations

import math

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.core.golden_images import draw_images
from edgevit.core.reference import COUNT, ReferenceSet, count_others
from edgevit.frontend.source import Source

BATCH = 32
PIXELS = 256 * 32 * 32  # fewer images where they are larger, so that an export stays quick


def record_reference(source: Source, count: int | None = None, seed: int = 0) -> ReferenceSet:
    """Draws golden images and records what the float network says of them, in all its outputs.

    Preprocessing runs in numpy, so that an error in the exported graph's own preprocessing shows.

    Args:
        source: the model.
        count: images; None is 256, fewer for large ones (at least 32).
        seed: of the drawing.

    Raises:
        ExportError: an output is not finite: the weights are damaged.
    """
    rows, columns = source.preprocess.input_size
    if count is None:
        count = max(32, min(COUNT, PIXELS // (rows * columns)))
    images = draw_images(count, (rows, columns), seed)
    logits = float_logits(source, images)
    others = _float_others(source, images)
    if not all(np.isfinite(values).all() for values in (logits, *others.values())):
        raise ExportError(
            f"{source.name}: the float model itself answers NaN or infinity on drawn images, so "
            "its weights are damaged. Nothing was exported."
        )
    return ReferenceSet(images, logits, seed, others)


def float_logits(source: Source, images: np.ndarray) -> np.ndarray:
    """What the float Keras network says of raw images. uint8 B H W 3 -> float32 B classes."""
    return float_outputs(source, images, ("logits",))["logits"]


def float_outputs(
    source: Source, images: np.ndarray, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Named outputs of the float Keras network. uint8 B H W 3 -> float32 B ... each."""
    from keras import ops

    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, len(images), BATCH):
        entering = source.preprocess.apply(images[start : start + BATCH])
        found = source.network(entering, training=False)
        for name in names:
            parts[name].append(ops.convert_to_numpy(found[name]).astype(np.float32))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _float_others(source: Source, images: np.ndarray) -> dict[str, np.ndarray]:
    """Every output beside the logits, each on as many images as its size allows."""
    found = {}
    for name, value in source.network.output.items():
        if name != "logits":
            size_bytes = 4 * math.prod(int(size) for size in value.shape[1:])
            few = images[: count_others(size_bytes, len(images))]
            found[name] = float_outputs(source, few, (name,))[name]
    return found
