"""Hard swish as a gate and a product, with levels for each channel.

Channels in front of LiteRT's HARD_SWISH (Howard et al. 2019, arXiv:1905.02244) cannot be levelled:
it returns no multiple where a multiple enters. Written as a gate, ``relu6(x + 3)``, times x they
can: the layer in front divides each channel by a factor, the gate's own weights multiply by it, one
a channel, and the layers behind make up for it, and for six, in the product. Exact in real
arithmetic. XNNPACK runs both operators; it leaves HARD_SWISH in int8 to slower kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from edgevit.formats.layer_names import mark_levelled
from edgevit.formats.passes import Declined, PassReport
from edgevit.formats.tflite.operators import OPERATORS
from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph
from edgevit.formats.tflite.writer.passes.channels import (
    Entry,
    activation,
    channel_labels,
    find_entries,
    scale_entry,
)
from edgevit.formats.tflite.writer.passes.rewriting import replace_where
from edgevit.quantization.channel_levels import MARGIN, SHARES, keep_ends
from edgevit.quantization.observer import ChannelRanges
from edgevit.quantization.ranges import RangeRecord

KIND = "HARD_SWISH"
MAKERS = ("CONV_2D", "DEPTHWISE_CONV_2D")
FLAT = -3.0  # below it hard swish is zero
LEAST_SIZE = 1 / 8  # of a channel, as a share of the widest
LEAST = -0.375  # of all its values, at -1.5
# How many times a channel's own lower end fits below zero, beside the whole upper end.
ROOMS = (3.0, 4.5, 6.0, 8.0, 12.0)
SLOPE = 0.5  # of hard swish, in the mean
SMALLEST = 0.1  # upper end
SIX = 6.0
RELU6 = 3  # ActivationFunctionType of the schema
VALID = 1  # schema.Padding


@dataclass(frozen=True)
class _Swish:
    """A hard swish between a convolution and layers with weights.

    Attributes:
        maker: the convolution.
        entries: the layers behind.
    """

    maker: Any
    entries: Sequence[Entry]


@dataclass(frozen=True)
class _Sizes:
    """Sizes of channels that were chosen.

    Attributes:
        factors: what each channel is divided by, at most 1. C.
        before: (smallest, largest) of what enters the hard swish, divided.
        after: likewise, of what it returns, six times as large.
    """

    factors: np.ndarray
    before: tuple[float, float]
    after: tuple[float, float]


def gated_names(graph: TfliteGraph) -> frozenset[str]:
    """Names of the tensors whose channels have to be known."""
    made = graph.makers()
    names = set()
    for operator in graph.operators:
        found = _find(graph, made, operator)
        if found:
            names |= {graph.name(int(operator.inputs[0])), graph.name(int(operator.outputs[0]))}
            names |= {graph.name(tensor) for entry in found.entries for tensor in entry.way}
    return frozenset(names)


def gate_hard_swish(graph: TfliteGraph, record: RangeRecord) -> tuple[RangeRecord, PassReport]:
    """Writes hard swishes of a float graph as gates, where levels of channels can pass.

    Args:
        graph: float32, about to be quantised; changed in place.
        record: ranges, means and channels of its tensors.

    Returns:
        (the record of the changed graph, how many were written anew).
    """
    known = {name: ChannelRanges.from_text(text) for name, text in record.channels.items()}
    ranges, means = dict(record.ranges), dict(record.means)
    made = graph.makers()

    def write(operator: Any) -> list[Any] | None:
        swish = _find(graph, made, operator)
        wanted = (
            {int(operator.inputs[0]), *(t for e in swish.entries for t in e.way)} if swish else {}
        )
        if not swish or any(graph.name(tensor) not in known for tensor in wanted):
            return None
        sizes = _choose(graph, operator, swish, known, ranges)
        _stretch(graph, swish, sizes.factors)
        _carry(graph, operator, swish, sizes, known, ranges, means)
        return _write(graph, operator, sizes.factors, ranges)

    count = replace_where(graph, write)
    graph.prune()
    return replace(record, ranges=ranges, means=means), PassReport("gate-hard-swish", count)


def _find(graph: TfliteGraph, made: Mapping[int, Any], operator: Any) -> _Swish | None:
    """None where channels cannot be levelled."""
    if graph.kind(operator) != KIND:
        return None
    x, result = int(operator.inputs[0]), int(operator.outputs[0])
    maker = made.get(x)
    if maker is None or graph.kind(maker) not in MAKERS or activation(maker) != NO_ACTIVATION:
        return None
    alone = len(list(graph.readers(x))) == 1 and not graph.is_output(x)
    if not alone or any(graph.constant_input(maker, place) is None for place in (1, 2)):
        return None
    found = find_entries(graph, result, channel_labels(graph.shape(result)), scaled=True)
    if isinstance(found, Declined) or not _keeps_channels(graph, found, graph.shape(x)[-1]):
        return None
    return _Swish(maker, found)


def _keeps_channels(graph: TfliteGraph, entries: Sequence[Entry], width: int) -> bool:
    return all(graph.shape(tensor)[-1] == width for entry in entries for tensor in entry.way)


def _choose(
    graph: TfliteGraph,
    operator: Any,
    swish: _Swish,
    known: Mapping[str, ChannelRanges],
    ranges: Mapping[str, tuple[float, float]],
) -> _Sizes:
    """The sizes with which rounding is expected to cost least behind the hard swish."""
    name = graph.name(int(operator.inputs[0]))
    found, (low, high) = known[name], ranges[name]
    lows, highs = keep_ends(found, MARGIN)
    lows, highs = np.clip(lows, max(FLAT, low), 0), np.clip(highs, 0, high)
    power = _power_behind(graph, swish.entries, len(lows))
    candidates = [_size(lows, highs, high, room, share) for room, share in product(ROOMS, SHARES)]
    errors = [(power * np.square(sizes.factors)).sum() * _step2(sizes) for sizes in candidates]
    return candidates[int(np.argmin(errors))]


def _size(lows: np.ndarray, highs: np.ndarray, high: float, room: float, share: float) -> _Sizes:
    top = max(high, SMALLEST)
    sizes = np.maximum(np.maximum(highs / top, -lows / room), LEAST_SIZE)
    factors = (sizes / sizes.max()) ** share
    least = np.where(lows < LEAST * 4, LEAST, lows * (lows + 3) / 6)
    before = float((lows / factors).min()), float((highs / factors).max())
    return _Sizes(factors, before, (SIX * float((least / factors).min()), SIX * before[1]))


def _step2(sizes: _Sizes) -> float:
    """Mean square of the two roundings, but for a factor."""
    before, after = (pair[1] - pair[0] for pair in (sizes.before, sizes.after))
    return SLOPE * before**2 + (after / SIX) ** 2


def _power_behind(graph: TfliteGraph, entries: Sequence[Entry], width: int) -> np.ndarray:
    """Sum of the squared weights that each channel meets. C."""
    power = np.zeros(width)
    for entry in entries:
        weights = np.square(graph.values(int(entry.operator.inputs[1])).astype(np.float64))
        met = weights.reshape(-1, weights.shape[-1]).sum(axis=0)
        each = len(met) // len(entry.channels)  # of a depthwise layer: outputs of each channel
        np.add.at(power, entry.channels, met.reshape(-1, each).sum(axis=1))
    return power


def _stretch(graph: TfliteGraph, swish: _Swish, factors: np.ndarray) -> None:
    """Divides what the convolution writes, and multiplies what the layers behind read."""
    maker = swish.maker
    weights, bias = (graph.constant_input(maker, place) for place in (1, 2))
    axis = OPERATORS[graph.kind(maker)].weights_axis
    assert weights is not None
    assert bias is not None
    assert axis is not None
    shape = [1] * weights.ndim
    shape[axis] = -1
    graph.give_constant(maker, 1, weights.astype(np.float64) / factors.reshape(shape), "weights")
    graph.give_constant(maker, 2, bias.astype(np.float64) / factors, "bias")
    for entry in swish.entries:
        scale_entry(graph, entry, factors / SIX)


def _carry(
    graph: TfliteGraph,
    operator: Any,
    swish: _Swish,
    sizes: _Sizes,
    known: Mapping[str, ChannelRanges],
    ranges: dict[str, tuple[float, float]],
    means: dict[str, tuple[float, ...]],
) -> None:
    """Brings names, ranges and means of the tensors on the way up to date."""
    x, result = int(operator.inputs[0]), int(operator.outputs[0])
    found = {x: sizes.before, result: sizes.after}
    for tensor in {tensor for entry in swish.entries for tensor in entry.way}:
        channels = known[graph.name(tensor)]
        lows, highs = (SIX * ends / sizes.factors for ends in (channels.lows, channels.highs))
        found[tensor] = float(lows.min()), float(highs.max())
    for tensor, pair in found.items():
        before = graph.name(tensor)
        after = graph.tensors[tensor].name = mark_levelled(before)
        ranges[after] = pair
        if before in means:
            size = 1.0 if tensor == x else SIX
            means[after] = tuple(size * np.asarray(means[before]) / sizes.factors)


def _write(
    graph: TfliteGraph, operator: Any, factors: np.ndarray, ranges: dict[str, tuple[float, float]]
) -> list[Any]:
    x, result = int(operator.inputs[0]), int(operator.outputs[0])
    width = len(factors)
    weights, bias = (
        graph.add_near(result, role, shape, "float32", values.astype("<f4"))
        for role, shape, values in (
            ("gate_weights", (1, 1, 1, width), factors),
            ("gate_bias", (width,), np.full(width, -FLAT)),
        )
    )
    gate = graph.copy_tensor(result, "/gate", "float32")
    graph.set_scale(gate, [], [])  # the range goes in here
    ranges[graph.name(gate)] = 0.0, SIX
    fields = {name: 1 for name in ("strideH", "strideW", "depthMultiplier")}
    fields |= {"dilationHFactor": 1, "dilationWFactor": 1, "padding": VALID}
    opened = graph.make_operator(
        "DEPTHWISE_CONV_2D",
        1,
        [x, weights, bias],
        [gate],
        "DepthwiseConv2DOptions",
        fusedActivationFunction=RELU6,
        **fields,
    )
    return [opened, graph.make_elementwise("MUL", [x, gate], result)]
