"""Float numbers to 8-bit levels: scales, zero points, and weights that no kernel saturates on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# x86 processors without VNNI multiply 8-bit numbers with VPMADDUBSW: two unsigned activations by
# two signed weights, added with saturation at 16 bits (Intel SDM, volume 2). Two activations of 255
# fit as long as the two weights add up to 128: 255 * 128 = 32640 < 32768.
PAIR_LIMIT = 128
BIAS_LIMIT = 2**30  # leaves the other half of int32 to the products


@dataclass(frozen=True)
class Affine:
    """uint8 activations: ``x = (level - zero_point) * scale``."""

    scale: np.float32
    zero_point: int


def affine_of(low: float, high: float) -> Affine:
    """uint8 levels for a range. Zero is always a level, so that padding is exact."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = np.float32((high - low) / 255)
    if not scale > np.finfo(np.float32).tiny:
        return Affine(np.float32(1), 0)
    return Affine(scale, int(np.clip(np.rint(-low / scale), 0, 255)))


def weight_scales(rows: np.ndarray, floor: np.ndarray | None = None) -> np.ndarray:
    """One scale an output channel for symmetric int8 weights. float32 N.

    Where two neighbours would saturate VPMADDUBSW, the channel's scale grows until they do not.
    With normally distributed weights that costs about a third of a bit; the usual remedy, 7-bit
    weights, costs a whole one.

    Args:
        rows: N K, in the order of summation; kernels take them in pairs from the first.
        floor: smallest scale of each channel; None: no limit.
    """
    largest = np.abs(rows).max(axis=1, initial=0)
    if rows.shape[1] % 2:
        rows = np.pad(rows, ((0, 0), (0, 1)))
    pairs = np.abs(rows[:, 0::2] + rows[:, 1::2])
    # Each of the two is rounded by at most half a level.
    pair = pairs.max(axis=1, initial=0)
    scales = np.maximum(largest / 127, pair / (PAIR_LIMIT - 1)).astype(np.float32)
    if floor is not None:
        scales = np.maximum(scales, floor.astype(np.float32))
    return np.where(scales > np.finfo(np.float32).tiny, scales, np.float32(1))


def weight_levels(rows: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Symmetric int8 levels of weights. int8 N K."""
    return np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int8)


def bias_floor(bias: np.ndarray, input_scale: np.float32) -> np.ndarray:
    """Smallest weight scales with which an int32 bias still holds. float64 N."""
    return np.abs(bias.astype(np.float64)) / (float(input_scale) * BIAS_LIMIT)


def bias_levels(bias: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """int32 levels of a bias whose scale is input scale times weight scale. int32 N."""
    return np.rint(bias.astype(np.float64) / scales.astype(np.float64)).astype(np.int32)


def pack_4bit(levels: np.ndarray) -> np.ndarray:
    """Two 4-bit levels a byte, the first in the lower half. uint8, flat."""
    nibbles = levels.reshape(-1).view(np.uint8) & 15
    nibbles = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
    return nibbles[0::2] | (nibbles[1::2] << 4)


def channel_scales(
    rows: np.ndarray, floor: np.ndarray | None = None, levels: int = 127
) -> np.ndarray:
    """One scale an output channel for symmetric weights. float32 N.

    Args:
        rows: N K.
        floor: smallest scale of each channel, so that its bias fits into int32; None: no limit.
        levels: the largest level: 127 for 8 bits, 7 for 4.
    """
    scales = np.abs(rows).max(axis=1, initial=0) / levels
    if floor is not None:
        scales = np.maximum(scales, floor)
    largest = scales.max(initial=0)
    # A channel of zeros needs a scale as well, of a size that kernels can work with.
    return np.where(scales > largest * 1e-6, scales, largest or 1 / levels).astype(np.float32)
