"""What the float Keras model says of raw inputs, without any help of the exporter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kinds.kind import PIXELS, Arrays, Kind

BATCH = 16


def prepare(kind: Kind, model: keras.Model, raw: Arrays) -> Any:
    """Raw inputs as the network takes them: resized, scaled, and in the structure that it wants.

    Args:
        kind: says how pictures are scaled.
        model: its model.
        raw: by name; uint8 of rank 4 or 5 is a picture or a clip.
    """
    # A subclassed model does not know its inputs.
    known = getattr(model, "inputs", None) or [None] * len(raw)
    sizes = dict(zip(kind.inputs, known, strict=True))
    entering = {}
    for name, values in raw.items():
        size = None if sizes[name] is None else tuple(sizes[name].shape[-3:-1])
        entering[name] = scale_pixels(values, kind.scaling, size) if _is_picture(values) else values
    if len(entering) == 1:
        return next(iter(entering.values()))
    structure = getattr(model, "input", None)
    return entering if isinstance(structure, dict) else [entering[name] for name in kind.inputs]


def scale_pixels(
    pixels: np.ndarray, scaling: str | None, size: tuple[int | None, int | None] | None
) -> np.ndarray:
    """Pixels as a network wants them.

    Args:
        pixels: uint8 ... H W C.
        scaling: a key of PIXELS.
        size: (rows, columns) that the network takes; None where it takes any.
    """
    assert scaling is not None
    values = pixels.astype(np.float64)
    if size is not None and None not in size and values.shape[-3:-1] != size:
        down, across = (
            _interpolation(old, new)
            for old, new in zip(values.shape[-3:-1], size, strict=True)
            if new is not None
        )
        values = np.einsum("rh,cw,...hwk->...rck", down, across, values)
    factor, offset = PIXELS[scaling]
    found = (values * factor + offset).astype(np.float32)
    return found[..., ::-1] if scaling == "caffe" else found


def run_keras(kind: Kind, model: keras.Model, raw: Arrays) -> Arrays:
    """The float model's outputs of raw inputs, by name and in the model's order."""
    (count,) = {len(values) for values in raw.values()}
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, count, BATCH):
        few = {name: values[start : start + BATCH] for name, values in raw.items()}
        result = model(prepare(kind, model, few), training=False)
        for name, value in name_outputs(model, result):
            parts.setdefault(name, []).append(keras.ops.convert_to_numpy(value))
    return {name: np.concatenate(values) for name, values in parts.items()}


def name_outputs(model: keras.Model, result: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of what a model returned, in the model's order.

    A dict has its own names; other outputs are called after the layers that made them.
    """
    if isinstance(result, dict):
        yield from result.items()
        return
    values = list(result) if isinstance(result, (list, tuple)) else [result]
    if isinstance(model, keras.Sequential):
        names = [model.layers[-1].name]
    else:  # a subclassed model is named itself, but not its outputs
        names = getattr(model, "output_names", None) or [model.name]
    yield from zip(names, values, strict=True)


def _is_picture(values: np.ndarray) -> bool:
    return values.dtype == np.uint8 and values.ndim in (4, 5)


def _interpolation(old: int, new: int) -> np.ndarray:
    """Weights of a bilinear resize with half-pixel centres and no antialiasing. new old."""
    middles = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0, 1 - np.abs(middles[:, None] - np.arange(old)))
