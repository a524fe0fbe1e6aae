"""Float numbers to 8-bit levels: scales, zero points, and weights that no kernel saturates on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# x86 processors without VNNI multiply 8-bit numbers with VPMADDUBSW: two unsigned activations by
# two signed weights, added with saturation at 16 bits (Intel SDM, volume 2). Two activations of 255
# fit as long as the two weights add up to 128: 255 * 128 = 32640 < 32768.
PAIR_LIMIT = 128
SMALLEST_SIZE = 1 / 64  # of a channel's range, as a share of the widest
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


@dataclass(frozen=True, eq=False)
class ChannelLevels:
    """uint8 activations with levels of each channel's own.

    Integer kernels read all channels by one scale, ``y = (level - zero_point) * scale``. What a
    channel holds is ``x[c] = y[c] * factors[c] + offsets[c]``, which layers before and behind have
    in their weights.

    Attributes:
        affine: how kernels read the levels.
        steps: distance of two levels of each channel. float32 C.
        zeros: level of zero of each channel. uint8 C.
    """

    affine: Affine
    steps: np.ndarray
    zeros: np.ndarray

    @property
    def factors(self) -> np.ndarray:
        """float64 C."""
        return self.steps.astype(np.float64) / float(self.affine.scale)

    @property
    def offsets(self) -> np.ndarray:
        """float64 C; zeros where all channels have one level of zero."""
        return (self.affine.zero_point - self.zeros.astype(np.float64)) * self.steps

    @property
    def alike(self) -> bool:
        """Whether all channels have the levels that kernels read."""
        return bool(
            (self.steps == self.affine.scale).all() and (self.zeros == self.affine.zero_point).all()
        )


def channel_levels(
    low: float,
    high: float,
    lows: np.ndarray,
    highs: np.ndarray,
    share: float = 1.0,
    one_zero: bool = True,
) -> ChannelLevels:
    """Levels of each channel's own range.

    Args:
        low: smallest value to keep of all channels.
        high: largest likewise.
        lows: smallest value of each channel.
        highs: largest likewise.
        share: how far each channel goes its own way: 0 none, 1 its whole range has 256 levels.
        one_zero: whether zero has the same level in all channels, as padding needs it.
    """
    affine = affine_of(low, high)
    low, high = min(low, 0.0), max(high, 0.0)
    lows, highs = np.clip(lows, low, 0), np.clip(highs, 0, high)
    if one_zero:
        above, below = highs / high if high else lows * 0, lows / low if low else highs * 0
        sizes = np.maximum(above, below)
    else:
        sizes = (highs - lows) / (high - low) if high > low else np.ones(len(lows))
    # A channel that hardly moves on the samples may move on other ones.
    steps = np.maximum(sizes, SMALLEST_SIZE) ** share * float(affine.scale)
    zeros = np.full(len(steps), affine.zero_point)
    if not one_zero:
        zeros = np.clip(np.rint(127.5 - (lows + highs) / (2 * steps)), 0, 255)
    return ChannelLevels(affine, steps.astype(np.float32), zeros.astype(np.uint8))


def weight_scales(
    rows: np.ndarray, floor: np.ndarray | None = None, reach: np.ndarray | None = None
) -> np.ndarray:
    """One scale an output channel for symmetric int8 weights. float32 N.

    Where two neighbours would saturate VPMADDUBSW, the channel's scale grows until they do not.
    With normally distributed weights that costs about a third of a bit; the usual remedy, 7-bit
    weights, costs a whole one.

    Args:
        rows: N K, in the order of summation; kernels take them in pairs from the first.
        floor: smallest scale of each channel; None: no limit.
        reach: the largest level that each weight meets, as a share of 255, N K or K; None: 1.
    """
    largest = np.abs(rows).max(axis=1, initial=0)
    if reach is not None:
        rows = rows * reach
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
