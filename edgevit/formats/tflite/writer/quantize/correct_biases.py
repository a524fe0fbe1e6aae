"""Bias correction: what rounded weights do to each channel in the mean is taken off its bias.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv:1906.04721), section 4.2. With weights ``W + d`` a layer's output is off by ``d @ x``, in the
mean over images by ``d @ mean(x)``: a constant for each channel. The means come from calibration,
where the paper takes those of a batch normalisation; these networks have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgevit.core.target import Precision
from edgevit.formats.passes import Declined, PassReport
from edgevit.formats.tflite.operators import OPERATORS, WEIGHTED
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes import CORRECT_BIASES
from edgevit.formats.tflite.writer.passes.channels import SAME_PADDING
from edgevit.formats.tflite.writer.passes.rewriting import rewrite_each
from edgevit.formats.tflite.writer.quantize.set_precisions import FEWEST_WEIGHTS
from edgevit.quantization.levels import channel_scales, weight_levels

ROUNDED = (Precision.INT8, Precision.INT16X8, Precision.DYNAMIC)  # their weights have 8 bits

Means = Mapping[str, Sequence[float]]


def correct_biases(graph: TfliteGraph, means: Means, precisions: Sequence[Precision]) -> PassReport:
    """Gives layers of a float graph the biases that their rounded form needs.

    Args:
        graph: float32, about to be quantised; changed in place.
        means: of each channel of the tensors that enter layers with weights, by name.
        precisions: of each operator; what stays in float is left alone.
    """
    wanted = {
        id(operator): precision
        for operator, precision in zip(graph.operators, precisions, strict=True)
        if graph.kind(operator) in WEIGHTED and precision in ROUNDED
    }

    def correct(graph: TfliteGraph, operator: Any) -> bool | Declined:
        precision = wanted.get(id(operator))
        return precision is not None and _correct(graph, operator, means, precision)

    report = rewrite_each(CORRECT_BIASES, graph, graph.operators, correct)
    if report.count:
        graph.prune()
    return report


def entering_names(graph: TfliteGraph) -> frozenset[str]:
    """Names of the computed tensors that enter layers with weights."""
    return frozenset(
        graph.name(int(operator.inputs[0]))
        for operator in graph.operators
        if graph.kind(operator) in WEIGHTED
    )


def _correct(
    graph: TfliteGraph, operator: Any, means: Means, precision: Precision
) -> bool | Declined:
    weights, bias = (graph.constant_input(operator, place) for place in (1, 2))
    if weights is None or (bias is None and len(operator.inputs) > 2 and operator.inputs[2] >= 0):
        return Declined("its weights or its bias are computed")
    if precision is Precision.DYNAMIC and weights.size < FEWEST_WEIGHTS:
        return Declined("its weights are too few to be rounded")
    name = graph.name(int(operator.inputs[0]))
    if name not in means:
        return Declined("calibration did not record the means of what enters")
    mean = np.asarray(means[name], np.float64)  # K
    axis = OPERATORS[graph.kind(operator)].weights_axis
    assert axis is not None
    error = _rounding(weights, axis)
    depthwise = graph.kind(operator) == "DEPTHWISE_CONV_2D"
    if depthwise:
        mean = np.repeat(mean, weights.shape[-1] // max(1, len(mean)))
    if len(mean) != weights.shape[-1]:
        return Declined("what enters has other channels than its weights")
    if error.ndim == 4:
        error = error * _seen(graph, operator)[None, :, :, None]
    moved = (error * mean).sum(axis=(0, 1, 2)) if depthwise else _sum_over_inputs(error * mean)
    corrected = -moved if bias is None else bias.astype(np.float64) - moved
    graph.give_constant(operator, 2, corrected, "bias")
    return True


def _rounding(weights: np.ndarray, axis: int) -> np.ndarray:
    """What int8 levels add to weights. float64, of their shape."""
    rows = np.moveaxis(weights, axis, 0)  # N ...
    flat = rows.reshape(len(rows), -1)
    scales = channel_scales(flat)
    levels = weight_levels(flat, scales).astype(np.float64) * scales[:, None].astype(np.float64)
    return np.moveaxis((levels - flat).reshape(rows.shape), 0, axis)


def _sum_over_inputs(products: np.ndarray) -> np.ndarray:
    """N from N ... K."""
    return products.reshape(len(products), -1).sum(axis=1)


def _seen(graph: TfliteGraph, operator: Any) -> np.ndarray:
    """Share of a convolution's positions at which each tap of its kernel meets no padding."""
    options = operator.builtinOptions
    (height, width) = graph.shape(int(operator.inputs[0]))[1:3]
    kernel = graph.shape(int(operator.inputs[1]))[1:3]
    along = [
        _seen_along(size, length, step, spread, options.padding == SAME_PADDING)
        for size, length, step, spread in (
            (height, kernel[0], options.strideH, options.dilationHFactor),
            (width, kernel[1], options.strideW, options.dilationWFactor),
        )
    ]
    return np.outer(*along)


def _seen_along(size: int, length: int, step: int, spread: int, padded: bool) -> np.ndarray:
    reach = (length - 1) * spread + 1
    count = -(-size // step) if padded else (size - reach) // step + 1
    before = max(0, (count - 1) * step + reach - size) // 2 if padded else 0
    places = np.arange(count)[:, None] * step + np.arange(length) * spread - before
    return ((places >= 0) & (places < size)).mean(axis=0)
