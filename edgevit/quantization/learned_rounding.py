"""Rounding of weights that makes up, in the weights to come, for what it has done so far.

Source: Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers" (arXiv:2210.17323), after Hassibi & Stork 1992 (optimal brain surgeon). Weights are
rounded column by column; the error of each goes off the columns that are left, as far as what
enters them moves together. Here what enters is taken without its mean, since the bias makes up for
that, and the largest weight of a row is rounded as it would be anyway, so that scales stay.
"""

from __future__ import annotations

import numpy as np

from edgevit.quantization.levels import channel_scales, weight_levels

DAMPING = 0.01  # of the mean variance, added to each: columns that hardly move on the samples
LARGEST = 127


def learn_levels(rows: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Weights on int8 levels, chosen for the error of their products.

    Args:
        rows: weights, N K.
        covariance: of what the K columns meet: K K, or N K K where rows meet different things.

    Returns:
        float64 N K. No row's products are further off than those of the nearest levels.
    """
    rows = rows.astype(np.float64)
    scales = channel_scales(rows).astype(np.float64)
    nearest = weight_levels(rows, scales) * scales[:, None]
    learned = _carry_errors(rows / scales[:, None], covariance) * scales[:, None]
    worse = _power(learned - rows, covariance) >= _power(nearest - rows, covariance)
    return np.where(worse[:, None], nearest, learned)


def _carry_errors(left: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Levels of weights in units of their step. N K."""
    factor = _inverse_factor(covariance)
    levels = np.empty_like(left)
    largest = np.abs(left).argmax(axis=1)  # N
    kept = np.rint(left[np.arange(len(left)), largest])
    left = left.copy()
    for column in range(left.shape[1]):
        level = np.clip(np.rint(left[:, column]), -LARGEST, LARGEST)
        levels[:, column] = np.where(largest == column, kept, level)
        error = (left[:, column] - levels[:, column]) / factor[..., column, column]  # N
        left[:, column:] -= error[:, None] * factor[..., column, column:]
    return levels


def _inverse_factor(covariance: np.ndarray) -> np.ndarray:
    """Upper U with ``U.T @ U`` the inverse of the damped covariance. ... K K."""
    count = covariance.shape[-1]
    variances = np.diagonal(covariance, axis1=-2, axis2=-1).mean(axis=-1)[..., None, None]
    damped = covariance + np.where(variances > 0, DAMPING * variances, 1) * np.eye(count)
    return np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(-2, -1)


def _power(errors: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Mean square that errors of weights add to each row's products. N."""
    moved = np.matmul(errors[:, None, :], covariance)[:, 0]
    return np.asarray((moved * errors).sum(axis=1))
