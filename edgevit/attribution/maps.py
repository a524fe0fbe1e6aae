"""From a network's further outputs to maps over the image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgevit.base.errors import ConfigError


@dataclass(frozen=True)
class Map:
    """One value for each place of a grid that covers the image.

    Attributes:
        title: what it shows, for people.
        values: float32 rows columns.
        limit: where the scale ends, which then is centred on zero; None: it is that of the values.
    """

    title: str
    values: np.ndarray
    limit: float | None = None


def read_attention(values: np.ndarray) -> list[Map]:
    """Attention that each token receives.

    Args:
        values: rows columns, a finished map; or K N N, weights of K heads from each of N tokens to
            each. With a class token in front (N - 1 is a square) its row is the map, otherwise
            the mean over all rows.

    Raises:
        ConfigError: the tokens form no square grid.
    """
    if values.ndim == 2:
        return [Map("attention", values)]
    if values.ndim == 3 and values.shape[1] == values.shape[2]:
        heads = [_received(head) for head in values]
        mean = Map("mean of the heads", np.mean(heads, axis=0))
        return [mean, *(Map(f"head {number + 1}", head) for number, head in enumerate(heads))]
    raise ConfigError(f"attention must be rows columns or K N N. Received: {values.shape}")


def read_gates(values: np.ndarray) -> list[Map]:
    """One map for each focal level; the last is the global context. rows columns levels."""
    levels = values.shape[-1]
    titles = [f"gate of level {number + 1}" for number in range(levels - 1)] + ["gate of the whole"]
    return [Map(title, values[..., number]) for number, title in enumerate(titles)]


def read_modulator(values: np.ndarray) -> list[Map]:
    """Euclidean norm over the channels. rows columns C."""
    return [Map("norm of the modulator", np.linalg.norm(values, axis=-1))]


# By the name of an output: its values for one image (no batch axis) -> maps.
EXPLAINERS: dict[str, Callable[[np.ndarray], list[Map]]] = {
    "attention": read_attention,
    "gates": read_gates,
    "modulator": read_modulator,
}


def _received(weights: np.ndarray) -> np.ndarray:
    """N N, rows sum to one -> rows columns of the token grid."""
    count = len(weights)
    side = math.isqrt(count)
    if side * side == count:
        received = weights.mean(axis=0)
    elif math.isqrt(count - 1) ** 2 == count - 1:
        received, side = weights[0, 1:], math.isqrt(count - 1)
    else:
        raise ConfigError(f"{count} tokens form no square grid, with or without a class token.")
    return received.reshape(side, side)
