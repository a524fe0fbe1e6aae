"""Channels of one size between layers with weights, measured on the calibration samples.

The layer that writes a tensor divides each channel by a factor, those that read it multiply by it:
cross-layer equalisation (Nagel et al. 2019, arXiv:1906.04721), with the ranges that the samples
showed in place of those of the weights. How far channels go their own way is chosen for each tensor
by the error that rounding it, and the weights that meet it, is going to make.

A RELU6 is no obstacle. It cuts every channel at six; the channel that reaches six keeps its factor
of one, and the end of the range cuts it there. Others are cut at their own largest value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgevit.formats.layer_names import mark_levelled
from edgevit.formats.passes import Declined, PassReport
from edgevit.formats.tflite.operators import OPERATORS, WEIGHTED
from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, RELU, TfliteGraph
from edgevit.formats.tflite.writer.passes import LEVEL_CHANNELS
from edgevit.formats.tflite.writer.passes.channels import (
    POOLS,
    Entry,
    activation,
    channel_labels,
    find_entries,
    scale_entry,
)
from edgevit.formats.tflite.writer.passes.rewriting import rewrite_each
from edgevit.quantization.channel_levels import (
    MARGIN,
    SHARES,
    list_levels,
    predict_error,
    variances_of,
)
from edgevit.quantization.levels import channel_scales
from edgevit.quantization.observer import ChannelRanges
from edgevit.quantization.ranges import RangeRecord

RELU6 = 3  # ActivationFunctionType of the schema
SHAPES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
MOVES = (*SHAPES, "PAD", *POOLS)
LEVELS = 255


@dataclass(frozen=True)
class _Passage:
    """Channels on their way from the layer that writes them to those that read them.

    Attributes:
        writer: operator.
        tensor: that it writes.
        entries: all that read it.
    """

    writer: Any
    tensor: int
    entries: Sequence[Entry]


def channel_names(graph: TfliteGraph) -> frozenset[str]:
    """Names of the tensors whose channels have to be known."""
    found = [_find_passage(graph, operator) for operator in graph.operators]
    return frozenset(
        graph.name(tensor)
        for passage in found
        if isinstance(passage, _Passage)
        for entry in passage.entries
        for tensor in (passage.tensor, *_means_on(graph, entry))
    )


def level_channels(graph: TfliteGraph, record: RangeRecord) -> tuple[RangeRecord, PassReport]:
    """Gives the channels of a float graph the sizes that 8 bits suit.

    Args:
        graph: float32, about to be quantised; changed in place.
        record: ranges, means and channels of its tensors.

    Returns:
        (the record of the changed graph, how many tensors were levelled).
    """
    known = {name: ChannelRanges.from_text(text) for name, text in record.channels.items()}
    if not known:
        return record, PassReport(LEVEL_CHANNELS, 0)
    ranges, means = dict(record.ranges), dict(record.means)

    def level(graph: TfliteGraph, operator: Any) -> bool | Declined:
        passage = _find_passage(graph, operator)
        if not isinstance(passage, _Passage):
            return passage
        width = graph.shape(passage.tensor)[-1]
        found = [known.get(graph.name(index)) for index in _watched(graph, passage)]
        if any(channels is None or len(channels.lows) != width for channels in found):
            return Declined("calibration did not record its channels")
        factors = _choose(graph, passage, known, ranges)
        if (factors == 1).all():
            return Declined("its channels are of one size")
        _stretch(graph, passage, factors)
        _carry(graph, passage, factors, known, ranges, means)
        return True

    report = rewrite_each(LEVEL_CHANNELS, graph, graph.operators, level)
    if report.count:
        graph.prune()
    return replace(record, ranges=ranges, means=means), report


def _find_passage(graph: TfliteGraph, operator: Any) -> _Passage | Declined | bool:
    """False where nothing looks like one."""
    kind = graph.kind(operator)
    if kind not in WEIGHTED or graph.constant_input(operator, 1) is None:
        return False
    if activation(operator) not in (NO_ACTIVATION, RELU, RELU6):
        return Declined("its activation is not homogeneous")
    biased = len(operator.inputs) > 2 and operator.inputs[2] >= 0
    if biased and graph.constant_input(operator, 2) is None:
        return Declined("its bias is computed")
    result = int(operator.outputs[0])
    found = find_entries(graph, result, channel_labels(graph.shape(result)), scaled=True)
    if isinstance(found, Declined):
        return found
    makers = graph.makers()
    for tensor in {tensor for entry in found for tensor in entry.way}:
        if graph.kind(makers[tensor]) not in (*MOVES, "MEAN"):
            return Declined(f"{graph.kind(makers[tensor])} reads it")
    return _Passage(operator, result, found)


def _means_on(graph: TfliteGraph, entry: Entry) -> list[int]:
    """Tensors of an entry's way whose values are new: those of means."""
    makers = graph.makers()
    return [tensor for tensor in entry.way if graph.kind(makers[tensor]) == "MEAN"]


def _watched(graph: TfliteGraph, passage: _Passage) -> set[int]:
    means = {tensor for entry in passage.entries for tensor in _means_on(graph, entry)}
    return {passage.tensor, *means}


def _choose(
    graph: TfliteGraph, passage: _Passage, known: Mapping[str, ChannelRanges], ranges: Any
) -> np.ndarray:
    """The factors with which the least error is expected. float64 C."""
    name = graph.name(passage.tensor)
    low, high = ranges[name]
    found = list_levels(low, high, known[name], SHARES, one_zero=True, margin=MARGIN)
    errors = []
    for levels in found:
        factors, step = levels.factors, float(levels.affine.scale)
        errors.append(
            sum(_predict(graph, passage, entry, known, factors, step) for entry in passage.entries)
        )
    return found[int(np.argmin(errors))].factors


def _predict(
    graph: TfliteGraph,
    passage: _Passage,
    entry: Entry,
    known: Mapping[str, ChannelRanges],
    factors: np.ndarray,
    step: float,
) -> float:
    """Error of what a layer returns; see :func:`predict_error`."""
    tensor = ([passage.tensor, *_means_on(graph, entry)])[-1]
    found = known[graph.name(tensor)]
    if tensor != passage.tensor:
        low, high = _range_of(found, factors)
        step = (max(high, 0.0) - min(low, 0.0)) / LEVELS
    weights = graph.values(int(entry.operator.inputs[1])).astype(np.float64)
    if graph.kind(entry.operator) == "DEPTHWISE_CONV_2D":
        each = weights.shape[-1] // len(entry.channels)
        columns = np.repeat(entry.channels, each)[:, None]  # N 1
        weights = np.moveaxis(weights, -1, 0)
        met = weights * factors[columns].reshape(-1, 1, 1, 1)
    else:
        columns = np.broadcast_to(entry.channels, (len(weights), len(entry.channels)))  # N K
        met = weights * factors[entry.channels]
    rows = met.reshape(len(met), -1)
    scales = channel_scales(rows).astype(np.float64)
    return predict_error(rows, scales, columns, factors, step, variances_of(found))


def _stretch(graph: TfliteGraph, passage: _Passage, factors: np.ndarray) -> None:
    """Divides what a layer writes, and multiplies what others read."""
    writer = passage.writer
    axis = OPERATORS[graph.kind(writer)].weights_axis
    assert axis is not None
    weights, bias = (graph.constant_input(writer, place) for place in (1, 2))
    assert weights is not None
    shape = [1] * weights.ndim
    shape[axis] = -1
    graph.give_constant(writer, 1, weights.astype(np.float64) / factors.reshape(shape), "weights")
    if bias is not None:
        graph.give_constant(writer, 2, bias.astype(np.float64) / factors, "bias")
    for entry in passage.entries:
        scale_entry(graph, entry, factors)
    if activation(writer) == RELU6:
        writer.builtinOptions.fusedActivationFunction = RELU


def _carry(
    graph: TfliteGraph,
    passage: _Passage,
    factors: np.ndarray,
    known: Mapping[str, ChannelRanges],
    ranges: dict[str, tuple[float, float]],
    means: dict[str, tuple[float, ...]],
) -> None:
    """Brings names, ranges and means of the tensors on the way up to date."""
    whole = ranges[graph.name(passage.tensor)]  # its channels fill it
    found = {passage.tensor: whole}
    for entry in passage.entries:
        new, last = set(_means_on(graph, entry)), whole
        for tensor in entry.way:
            last = _range_of(known[graph.name(tensor)], factors) if tensor in new else last
            found[tensor] = last
    channels = {int(entry.operator.inputs[0]): entry.channels for entry in passage.entries}
    for tensor, pair in found.items():
        before = graph.name(tensor)
        after = graph.tensors[tensor].name = mark_levelled(before)
        ranges[after] = pair
        if before in means and tensor in channels:
            means[after] = tuple(np.asarray(means[before]) / factors[channels[tensor]])


def _range_of(known: ChannelRanges, factors: np.ndarray) -> tuple[float, float]:
    """Of a tensor whose channels are divided."""
    return float((known.lows / factors).min()), float((known.highs / factors).max())
