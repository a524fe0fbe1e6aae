"""Cross-layer equalisation: channels between two linear layers get ranges of one size.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv:1906.04721), section 4.1. Where nothing but moves, means and positively homogeneous functions
lie between two layers, channel i may be divided by any s > 0 in the first and multiplied in the
second; the values of an attention pass through it likewise, since its rows weigh tokens and not
channels. With r1 and r2 the largest weights of channel i in each, ``s = sqrt(r1 / r2)`` makes both
equal, and an activation with one scale for all channels loses least.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.formats.passes import Declined, PassReport
from edgevit.formats.tflite.operators import OPERATORS
from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, RELU, TfliteGraph
from edgevit.formats.tflite.writer.passes.channels import (
    Entry,
    activation,
    channel_labels,
    find_entries,
    scale_entry,
)
from edgevit.formats.tflite.writer.passes.rewriting import rewrite_each

HOMOGENEOUS = (NO_ACTIVATION, RELU)  # RELU6 is not
LARGEST = 64.0  # an almost dead channel is not blown up further


def equalise_channels(graph: TfliteGraph) -> PassReport:
    """Equalises each layer with those that alone read it; counts pairs of layers."""
    return rewrite_each("equalise-channels", graph, graph.operators, _equalise)


def _equalise(graph: TfliteGraph, operator: Any) -> bool | Declined:
    kind = graph.kind(operator)
    if kind not in OPERATORS or OPERATORS[kind].weights_axis != 0:
        return False
    weights, bias = (graph.constant_input(operator, place) for place in (1, 2))
    if weights is None:
        return False
    if activation(operator) not in HOMOGENEOUS:
        return Declined("its activation is not homogeneous")
    result = int(operator.outputs[0])
    found = find_entries(graph, result, channel_labels(graph.shape(result)), scaled=True)
    if isinstance(found, Declined):
        return found
    channels = len(weights)
    first = np.abs(weights.astype(np.float64).reshape(channels, -1)).max(axis=1)
    if bias is not None:
        first = np.maximum(first, np.abs(bias))
    second = np.zeros(channels)
    for entry in found:
        np.maximum.at(second, entry.channels, _column_sizes(graph, entry))
    alive = (first > 0) & (second > 0)
    factors = np.ones(channels)
    factors[alive] = np.sqrt(first[alive] / second[alive])
    factors /= np.exp(np.log(factors).mean())
    factors = np.clip(factors, 1 / LARGEST, LARGEST)
    shape = (channels,) + (1,) * (weights.ndim - 1)
    scaled = weights.astype(np.float64) / factors.reshape(shape)
    graph.give_constant(operator, 1, scaled, "weights")
    if bias is not None:
        graph.give_constant(operator, 2, bias.astype(np.float64) / factors, "bias")
    for entry in found:
        scale_entry(graph, entry, factors)
    return True


def _column_sizes(graph: TfliteGraph, entry: Entry) -> np.ndarray:
    """The largest weight that each input of a layer meets. float64 K."""
    weights = graph.constant(int(entry.operator.inputs[1]))
    assert weights is not None
    largest = np.abs(weights.astype(np.float64)).max(axis=tuple(range(weights.ndim - 1)))
    return largest.reshape(len(entry.channels), -1).max(axis=1)
