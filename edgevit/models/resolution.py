"""Trained weights for another image size: learned positions are interpolated, all others stay.

Sources: Dosovitskiy et al. 2020 (arXiv:2010.11929), section 3.2, for one vector a position; Liu et
al. 2021 (arXiv:2103.14030), section 3.2, for one bias a relative position. A new position gets what
was learnt for the same place of the image, linearly between the positions around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import map_coordinates

from edgevit.base.errors import ConfigError
from edgevit.layers.patches import PositionEmbedding
from edgevit.layers.window_attention import WindowAttention

if TYPE_CHECKING:
    import keras


def fit_positions(
    weights: Sequence[np.ndarray], before: keras.Model, after: keras.Model
) -> list[np.ndarray]:
    """The weights of a network, as another one takes them that sees images of another size.

    Args:
        weights: in ``before.get_weights()`` order.
        before: the network that they were trained in.
        after: the same architecture with another image size or other windows.

    Returns:
        float arrays in ``after.get_weights()`` order.

    Raises:
        ConfigError: the networks differ in more than positions.
    """
    resizers: dict[int, Callable[[np.ndarray, int], np.ndarray]] = {}
    for layer in before._flatten_layers():
        if isinstance(layer, PositionEmbedding):
            resizers[id(layer.embeddings)] = resize_embeddings
        elif isinstance(layer, WindowAttention) and not layer.shared_bias:
            resizers[id(layer.bias_table)] = resize_bias_table
    if len(before.weights) != len(after.weights):
        raise ConfigError(
            f"it has {len(before.weights)} weights before and {len(after.weights)} after the change"
        )
    fitted = []
    for value, old, new in zip(weights, before.weights, after.weights, strict=True):
        if tuple(value.shape) == tuple(new.shape):
            fitted.append(value)
        elif id(old) in resizers and value.shape[1] == new.shape[1]:
            fitted.append(resizers[id(old)](value, int(new.shape[0])))
        else:
            raise ConfigError(
                f"{old.path} has the shape {tuple(value.shape)} before and {tuple(new.shape)} "
                "after the change"
            )
    return fitted


def resize_embeddings(embeddings: np.ndarray, count: int) -> np.ndarray:
    """A vector for each position of another square grid over the same image. N C -> count C.

    A class token before the grid keeps its own.
    """
    tokens = 0 if _is_square(count) else 1
    before, after = _side(len(embeddings) - tokens), _side(count - tokens)
    places = (np.arange(after) + 0.5) * before / after - 0.5  # centres, in tokens of before
    grid = _read_between(embeddings[tokens:], before, places)
    return np.concatenate([embeddings[:tokens], grid])


def resize_bias_table(table: np.ndarray, count: int) -> np.ndarray:
    """A bias for each relative position of a window with another number of tokens to a side.

    The window covers the same part of the image, so an offset of one token becomes a longer or a
    shorter one. Rows are ordered as by :func:`edgevit.layers.window_attention.relative_positions`.

    Args:
        table: (2w-1)^2 K, for windows of w x w tokens and K heads.
        count: rows of the new table, (2v-1)^2.

    Returns:
        count K.
    """
    before, after = _side(len(table)), _side(count)  # 2w-1, 2v-1
    offsets = np.arange(after) - (after - 1) / 2  # in tokens of after
    places = offsets * (before + 1) / (after + 1) + (before - 1) / 2
    return _read_between(table, before, places)


def _read_between(grid: np.ndarray, side: int, places: np.ndarray) -> np.ndarray:
    """Values of a square grid (side^2 C) at rows and columns between its own. P^2 C."""
    rows, columns = np.meshgrid(places, places, indexing="ij")
    planes = grid.reshape(side, side, -1)
    read = [
        map_coordinates(planes[..., channel], (rows, columns), order=1, mode="nearest")
        for channel in range(planes.shape[-1])
    ]
    return np.stack(read, axis=-1).reshape(-1, planes.shape[-1]).astype(grid.dtype)


def _is_square(count: int) -> bool:
    return round(count**0.5) ** 2 == count


def _side(count: int) -> int:
    if not _is_square(count):
        raise ConfigError(f"{count} positions are no square grid")
    return round(count**0.5)
