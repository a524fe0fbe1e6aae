"""Distances between two sets of outputs, and accuracy against labels."""

from __future__ import annotations

import numpy as np


def agreement(logits: np.ndarray, reference: np.ndarray) -> float:
    """Share of rows with the same class, in [0, 1].

    Integer outputs have at most 256 levels, so ties happen: the reference's class counts as found
    when its logit is the row's largest, alone or not.

    Args:
        logits: float B classes, of the file.
        reference: float B classes.
    """
    wanted = np.argmax(reference, axis=-1)
    found = logits[np.arange(len(logits)), wanted] >= np.max(logits, axis=-1)
    return float(np.mean(found & np.isfinite(logits).all(axis=-1)))


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


def relative_to_spread(error: float, reference: np.ndarray) -> float:
    """An error over the standard deviation of what was expected; of a constant, 0 or infinite."""
    spread = float(reference.std())
    return error / spread if spread > 0 else (0.0 if error == 0 else float("inf"))
