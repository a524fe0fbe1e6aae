"""Accuracy against labels."""

from __future__ import annotations

import numpy as np


def top_k(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Percent of rows whose label is among the k largest logits.

    Ties count as a runtime would break them: the lower index first, as argmax does. A row with a
    value that is not finite is wrong.

    Args:
        logits: float B classes.
        labels: int B.
        k: how many classes may be named.
    """
    own = logits[np.arange(len(logits)), labels][:, None]
    before = np.arange(logits.shape[-1])[None] < labels[:, None]
    rank = np.sum((logits > own) | ((logits == own) & before), axis=-1)
    return float(100.0 * np.mean((rank < k) & np.isfinite(logits).all(axis=-1)))
