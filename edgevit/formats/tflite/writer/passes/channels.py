"""Where the channels of a tensor go, until they enter layers with weights.

Each element of a tensor carries the number of the channel that it belongs to. Reshaping, cutting
and transposing move these numbers as they move values, so whatever layout a network uses between a
normalisation and a Dense layer, the layer's inputs still know their channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgevit.formats.passes import Declined
from edgevit.formats.tflite.operators import WEIGHTED
from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph

SAME_PADDING = 0  # schema.Padding
POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")  # of each channel by itself


@dataclass(frozen=True)
class Entry:
    """A layer with weights that channels enter.

    Attributes:
        operator: FULLY_CONNECTED, CONV_2D or DEPTHWISE_CONV_2D.
        channels: int K; the channel that each of its K inputs belongs to.
        way: tensors between where the channels began and the layer, its input the last of them.
    """

    operator: Any
    channels: np.ndarray
    way: tuple[int, ...] = ()


def find_entries(
    graph: TfliteGraph, tensor: int, labels: np.ndarray, scaled: bool = False
) -> list[Entry] | Declined:
    """The layers with weights that take a tensor, if nothing else takes it.

    Args:
        graph: where to look.
        tensor: index of the tensor.
        labels: int, of the tensor's shape: the channel that each element belongs to.
        scaled: whether channels are only scaled, by factors above zero. They may then pass through
            a product with another activation, as an attention's values do, through poolings, and
            beside zeros; an offset would not.
    """
    if graph.is_output(tensor):
        return Declined("it is an output of the file")
    found: list[Entry] = []
    for operator, place in graph.readers(tensor):
        kind = graph.kind(operator)
        if kind == "SHAPE":  # of a free batch; it reads no value
            continue
        through_product = scaled and kind == "BATCH_MATMUL" and place == 1
        if place != 0 and not through_product:
            return Declined(f"{kind} takes it beside another tensor")
        if kind in WEIGHTED:
            entry = _enter(graph, operator, labels)
            if isinstance(entry, Declined):
                return entry
            found.append(entry)
            continue
        moved = (
            _multiply_labels(graph, operator, labels)
            if through_product
            else move_labels(graph, operator, labels, scaled)
        )
        if isinstance(moved, Declined):
            return moved
        result = int(operator.outputs[0])
        further = find_entries(graph, result, moved, scaled)
        if isinstance(further, Declined):
            return further
        found += [replace(entry, way=(result, *entry.way)) for entry in further]
    return found or Declined("nothing takes it")


def move_labels(
    graph: TfliteGraph, operator: Any, labels: np.ndarray, scaled: bool = False
) -> np.ndarray | Declined:
    """Labels of an operator's output, where the operator only moves or averages values.

    Args:
        graph: where the operator is.
        operator: which it is.
        labels: of what enters it.
        scaled: see :func:`find_entries`.
    """
    kind = graph.kind(operator)
    shape = graph.shape(int(operator.outputs[0]))
    if scaled and kind in POOLS:
        if np.any(labels != labels[:1, :1, :1]):
            return Declined(f"{kind} mixes positions with channels")
        return np.broadcast_to(labels[:1, :1, :1], shape)
    if kind in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS"):
        if np.prod(shape, dtype=int) != labels.size:
            return Declined(f"{kind} of a size that is not fixed reads it")
        return labels.reshape(shape)
    second = graph.constant_input(operator, 1)
    if second is None:
        return Declined(f"{kind} reads it")
    if kind == "TRANSPOSE":
        return labels.transpose(second)
    if scaled and kind == "PAD" and not second[-1].any():
        return np.pad(labels, second, mode="edge")
    if kind == "MEAN":
        axes = tuple(int(axis) for axis in np.atleast_1d(second))
        low, high = labels.min(axis=axes), labels.max(axis=axes)
        if np.any(low != high):
            return Declined("a mean over channels reads it")
        return low.reshape(shape)
    if kind == "STRIDED_SLICE":
        return _slice_labels(graph, operator, labels)
    return Declined(f"{kind} reads it")


def scale_entry(graph: TfliteGraph, entry: Entry, factors: np.ndarray) -> None:
    """Multiplies what a layer's weights do with each channel. Exact in real arithmetic.

    Args:
        graph: which is changed.
        entry: the layer.
        factors: one for each channel.
    """
    weights = graph.constant(int(entry.operator.inputs[1]))
    assert weights is not None
    many = factors[entry.channels].astype(np.float64)  # K
    if graph.kind(entry.operator) == "DEPTHWISE_CONV_2D":
        many = np.repeat(many, weights.shape[-1] // len(many))
    graph.give_constant(entry.operator, 1, weights.astype(np.float64) * many, "weights")


def shift_entry(graph: TfliteGraph, entry: Entry, offsets: np.ndarray) -> None:
    """Adds to a layer's bias what constant offsets of its inputs would have given.

    Args:
        graph: which is changed.
        entry: the layer; nothing is padded onto its input (:func:`pads`).
        offsets: one for each channel.
    """
    operator = entry.operator
    weights, bias = (graph.constant_input(operator, place) for place in (1, 2))
    assert weights is not None
    many, wide = offsets[entry.channels].astype(np.float64), weights.astype(np.float64)  # K
    if graph.kind(operator) == "DEPTHWISE_CONV_2D":
        many = np.repeat(many, weights.shape[-1] // len(many))
        added = wide.sum(axis=(0, 1, 2)) * many
    else:
        added = wide.sum(axis=tuple(range(1, wide.ndim - 1))) @ many  # N
    graph.give_constant(operator, 2, added if bias is None else added + bias, "bias")


def pads(graph: TfliteGraph, operator: Any) -> bool:
    """Whether a layer sees zeros around its input."""
    if graph.kind(operator) == "FULLY_CONNECTED":
        return False
    options = operator.builtinOptions
    if options.padding != SAME_PADDING:
        return False
    sizes = graph.shape(int(operator.inputs[0]))[1:3]
    kernel = graph.shape(int(operator.inputs[1]))[1:3]
    steps = (options.strideH, options.strideW)
    spread = (options.dilationHFactor, options.dilationWFactor)
    return any(
        (-(-size // step) - 1) * step + (length - 1) * wide + 1 > size
        for size, length, step, wide in zip(sizes, kernel, steps, spread, strict=True)
    )


def activation(operator: Any) -> int:
    """What is applied to an operator's output inside it; NO_ACTIVATION for nothing."""
    return getattr(operator.builtinOptions, "fusedActivationFunction", NO_ACTIVATION)


def channel_labels(shape: tuple[int, ...]) -> np.ndarray:
    """The place on the last axis, for every element."""
    return np.broadcast_to(np.arange(shape[-1]), shape)


def _enter(graph: TfliteGraph, operator: Any, labels: np.ndarray) -> Entry | Declined:
    kind = graph.kind(operator)
    weights = graph.constant(int(operator.inputs[1]))
    bias = int(operator.inputs[2]) if len(operator.inputs) > 2 else -1
    if weights is None or (bias >= 0 and graph.constant(bias) is None):
        return Declined(f"{kind} without constant weights reads it")
    if kind == "FULLY_CONNECTED":
        labels = labels.reshape(-1, weights.shape[-1])  # rows K
    elif kind == "CONV_2D" and weights.shape[-1] != labels.shape[-1]:
        return Declined("a convolution in groups reads it")
    rows = labels.reshape(-1, labels.shape[-1])
    if np.any(rows != rows[0]):
        return Declined(f"{kind} mixes positions with channels")
    return Entry(operator, rows[0])


def _multiply_labels(
    graph: TfliteGraph, operator: Any, labels: np.ndarray
) -> np.ndarray | Declined:
    """Labels of ``x @ y``, for those of y: its columns stay apart, its rows are added up."""
    if operator.builtinOptions.adjY or graph.constant(int(operator.inputs[0])) is not None:
        return Declined("a product sums over its channels")
    if np.any(labels != labels[..., :1, :]):
        return Declined("a product adds up different channels")
    shape = graph.shape(int(operator.outputs[0]))
    if labels.ndim != len(shape) or labels.shape[-1] != shape[-1]:
        return Declined("a product changes the layout")
    return np.broadcast_to(labels[..., :1, :], shape)


def _slice_labels(graph: TfliteGraph, operator: Any, labels: np.ndarray) -> np.ndarray | Declined:
    limits = [graph.constant(int(index)) for index in operator.inputs[1:4]]
    options = operator.builtinOptions
    if any(part is None for part in limits) or options.ellipsisMask or options.newAxisMask:
        return Declined("STRIDED_SLICE reads it")
    cuts = []
    for axis, (start, stop, step) in enumerate(zip(*limits, strict=True)):
        first = None if options.beginMask >> axis & 1 else int(start)
        last = None if options.endMask >> axis & 1 else int(stop)
        cuts.append(slice(first, last, int(step)))
    if options.shrinkAxisMask:
        return Declined("STRIDED_SLICE reads it")
    return labels[tuple(cuts)].reshape(graph.shape(int(operator.outputs[0])))
