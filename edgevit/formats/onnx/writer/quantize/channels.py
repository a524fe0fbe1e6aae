"""Levels of single channels, and the weights of convolutions that make up for them.

Integer kernels read a tensor by one scale. A channel whose values are a tenth of the widest one's
has 25 levels then, which is what costs networks of depthwise convolutions most (Nagel et al. 2019,
arXiv:1906.04721). The convolution that writes a channel can stretch it, for nothing: its weights
have a scale an output channel anyway. What reads it takes the factor back: a depthwise convolution
for nothing as well, another one in the columns of its weights, and float operators in the scales of
their DequantizeLinear. In front of a convolution that reads floats, QuantizeLinear stretches.

Between two activations that cut at zero the result is that of cross-layer equalisation; where an
activation also cuts at six, a stretched channel is cut at its own largest value on the samples.

Columns of different size cost a convolution precision of its weights, so how far channels go their
own way is chosen by the error that both roundings are going to make.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgevit.formats.onnx.writer.quantize.layers import WeightedLayer
from edgevit.quantization.channel_levels import (
    SHARES,
    list_levels,
    predict_error,
    variances_of,
)
from edgevit.quantization.levels import ChannelLevels, channel_scales, weight_scales
from edgevit.quantization.observer import ChannelRanges


def choose_levels(
    low: float,
    high: float,
    known: ChannelRanges | None,
    readers: Sequence[WeightedLayer],
    one_zero: bool,
    paired: bool = False,
) -> ChannelLevels | None:
    """Levels with which the convolutions that read a tensor make the least error.

    Args:
        low: smallest value to keep.
        high: largest likewise.
        known: of its channels; None: all channels get the same levels.
        readers: convolutions that read it; none: only float operators do.
        one_zero: whether zero has the same level in all channels.
        paired: see :func:`scale_weights`.

    Returns:
        None where the channels are not known.
    """
    if known is None:
        return None
    found = list_levels(low, high, known, SHARES if readers else (1.0,), one_zero)
    errors = [sum(_predict(layer, levels, known, paired) for layer in readers) for levels in found]
    return found[int(np.argmin(errors))]


def adapt_weights(
    layer: WeightedLayer, entering: ChannelLevels | None, leaving: ChannelLevels | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(weights, bias) of a convolution from levels of channels to levels of channels."""
    weights, bias = layer.weights, layer.bias
    if entering is None and leaving is None:
        return weights, bias
    weights = weights.astype(np.float64)
    total = np.zeros(len(weights)) if bias is None else bias.astype(np.float64)
    if entering is not None:
        window = (1,) * (weights.ndim - 2)
        offsets = entering.offsets[layer.columns].reshape(*layer.columns.shape, *window)
        total += (weights * offsets).reshape(len(weights), -1).sum(axis=1)
        factors = entering.factors[layer.columns]
        weights = weights * factors.reshape(*factors.shape, *window)
    if leaving is not None:
        weights = weights / leaving.factors.reshape(-1, *(1,) * (weights.ndim - 1))
        total = (total - leaving.offsets) / leaving.factors
    bias = None if bias is None and not total.any() else total
    return weights.astype(np.float32), None if bias is None else bias.astype(np.float32)


def scale_weights(
    layer: WeightedLayer,
    rows: np.ndarray,
    floor: np.ndarray | None = None,
    entering: ChannelLevels | None = None,
    known: ChannelRanges | None = None,
    paired: bool = True,
) -> np.ndarray:
    """Scales of a layer's weights.

    Args:
        layer: whose weights they are.
        rows: of it, as far as they have been changed.
        floor: smallest scale of each channel.
        entering: levels of what it reads.
        known: of the channels that it reads.
        paired: whether no kernel may saturate within the known ranges; see
            :func:`edgevit.quantization.levels.weight_scales`. Where the channels are not known,
            none does. Those of depthwise convolutions never do: they add nothing in 16 bits.
    """
    if entering is None or known is None:
        return weight_scales(rows, floor)
    if layer.is_depthwise or not paired:
        return channel_scales(rows, floor)
    tops = known.highs / entering.steps + entering.zeros
    reach = np.clip(tops / 255, 0, 1)[layer.columns]  # N C/groups
    return weight_scales(rows, floor, np.tile(reach, rows.shape[1] // reach.shape[1]))


def correct_bias(
    layer: WeightedLayer,
    weights: np.ndarray,
    rounded: np.ndarray,
    bias: np.ndarray | None,
    entering: ChannelLevels | None,
    known: ChannelRanges | None,
) -> np.ndarray | None:
    """A bias that takes the mean error of rounded weights off the result.

    Source: Nagel et al. 2019, section 4.2, with the means of the calibration samples.

    Args:
        layer: a convolution.
        weights: before they are rounded, in its shape.
        rounded: after.
        bias: of the layer; None: it adds none.
        entering: levels of what it reads.
        known: of the channels that it reads; None: the bias stays.
    """
    if known is None or not layer.is_conv:
        return bias
    means = known.means.astype(np.float64)
    if entering is not None:
        means = (means - entering.offsets) / entering.factors
    errors = (weights.astype(np.float64) - rounded) * layer.coverage  # N C/groups ...
    summed = errors.reshape(*errors.shape[:2], -1).sum(axis=2)
    shift = (summed * means[layer.columns]).sum(axis=1)
    return (shift if bias is None else bias + shift).astype(np.float32)


def _predict(
    layer: WeightedLayer, levels: ChannelLevels, known: ChannelRanges, paired: bool
) -> float:
    """Mean square of what rounding a tensor and the weights that meet it adds to a result."""
    columns, factors = layer.columns, levels.factors
    shape = (*columns.shape, *(1,) * (layer.weights.ndim - 2))
    weights = layer.weights * factors[columns].reshape(shape)
    rows = layer.rows_of(weights)
    scales = scale_weights(layer, rows, None, levels, known, paired).astype(np.float64)
    step, variances = float(levels.affine.scale), variances_of(known)
    return predict_error(rows, scales, columns, factors, step, variances)
