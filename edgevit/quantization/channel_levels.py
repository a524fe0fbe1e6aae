"""Which levels single channels of a tensor get, by the error that rounding is going to make.

Integer kernels read a tensor by one scale. A channel whose values are a tenth of the widest one's
has 25 levels then, which is what costs networks of depthwise convolutions most (Nagel et al. 2019,
arXiv:1906.04721). The layer that writes a channel can stretch it, and those that read it take the
factor back. Columns of different size cost weights precision, so how far channels go their own way
is a choice.
"""

from __future__ import annotations

import numpy as np

from edgevit.quantization.levels import ChannelLevels, channel_levels
from edgevit.quantization.observer import ChannelRanges

# Deviations from its mean that a channel keeps, as far as any channel goes: one of few places has
# not shown its largest value on the samples. 6 cost MobileNetV2 1 dB.
SPREAD = 4.0
# Of a channel's ends over what few samples showed, where a file is judged by others: a channel that
# opens once in a hundred pictures is cut on the next one. Without it a network of hard swishes lost
# 4 dB on unseen pictures that it had gained on the samples.
MARGIN = 1.5
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # how far channels go their own way


def list_levels(
    low: float,
    high: float,
    known: ChannelRanges,
    shares: tuple[float, ...],
    one_zero: bool,
    margin: float = 1.0,
) -> list[ChannelLevels]:
    """Levels to choose among, one for each share.

    Args:
        low: smallest value to keep.
        high: largest likewise.
        known: of the channels.
        shares: how far each channel goes its own way, 0..1.
        one_zero: whether zero has the same level in all channels.
        margin: of a channel's ends over what the samples showed.
    """
    lows, highs = keep_ends(known, margin)
    return [channel_levels(low, high, lows, highs, share, one_zero) for share in shares]


def keep_ends(known: ChannelRanges, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """(smallest, largest) value to keep of each channel. float32 C, both."""
    spread = SPREAD * np.sqrt(variances_of(known))
    lows = np.minimum(margin * known.lows, known.means - spread)
    return lows, np.maximum(margin * known.highs, known.means + spread)


def variances_of(known: ChannelRanges) -> np.ndarray:
    """Variance of each channel over the samples. float32 C."""
    return np.maximum(known.squares - np.square(known.means), 0)


def predict_error(
    rows: np.ndarray,
    scales: np.ndarray,
    columns: np.ndarray,
    factors: np.ndarray,
    step: float,
    variances: np.ndarray,
) -> float:
    """Mean square of what rounding a tensor and the weights that meet it adds to a result.

    The mean is not counted, whose error the bias makes up for.

    Args:
        rows: weights as they meet levels, N K.
        scales: of the rounded weights, N.
        columns: which channel each weight meets, N K or, for each place of a window alike, less.
        factors: of the channels.
        step: of the levels.
        variances: of the channels.
    """
    of_tensor = np.square(rows).sum() * step**2
    window = rows.shape[1] // columns.shape[1]
    power = (variances / np.square(factors))[columns].sum(axis=1) * window  # N
    of_weights = (np.square(scales) * power).sum()
    return float(of_tensor + of_weights) / 12
