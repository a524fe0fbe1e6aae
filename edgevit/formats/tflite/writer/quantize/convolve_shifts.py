"""Channels that move by a pixel, as one depthwise convolution, for accelerators that copy slowly.

A shift, as ShiftViT's, is written with slices, a padding and a concatenation: a dozen copies of
memory. As a depthwise convolution of 3x3 with a single weight of 1 in each channel it is one
operator, and what it computes is the same, bit for bit: 127 at the scale 1/127.

The region in front of a concatenation is found by evaluating it: numbers of places run through its
slices and paddings, and tell where each output came from. Whatever moves each channel by at most
one pixel and fills with zeros is such a convolution, however it is written down.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph
from edgevit.formats.tflite.writer.passes.rewriting import replace_where

LARGEST = 127  # of a symmetric int8 weight
FILLING = -1  # where a padding put a zero
MOST = 24  # operators of a region
PADDING_SAME = 0  # of the schema


def convolve_shifts(graph: TfliteGraph) -> int:
    """Writes each shift of an int8 map as DEPTHWISE_CONV_2D.

    Args:
        graph: integer-only; changed in place.

    Returns:
        How many there were.
    """
    made = graph.makers()

    def write(operator: Any) -> list[Any] | None:
        source = _source_of(graph, made, operator)
        taps = None if source is None else _find_taps(graph, made, source, operator)
        if source is None or taps is None:
            return None
        return [_convolution(graph, source, int(operator.outputs[0]), taps)]

    count = replace_where(graph, write)
    if count:
        graph.drop_unread()
    return count


def _source_of(graph: TfliteGraph, made: dict[int, Any], operator: Any) -> int | None:
    """The one tensor that a concatenation moves values of, with the shape of its result."""
    result = int(operator.outputs[0])
    if graph.kind(operator) != "CONCATENATION" or graph.type(result) != "int8":
        return None
    found: set[int] = set()
    waiting, seen = [result], set[int]()
    while waiting:
        tensor = waiting.pop()
        maker = made.get(tensor)
        if tensor != result and graph.shape(tensor) == graph.shape(result):
            found.add(tensor)
        elif maker is None or graph.kind(maker) not in MOVERS or len(seen) > MOST:
            return None
        else:
            seen.add(id(maker))
            waiting += [int(t) for t in maker.inputs if t >= 0 and not graph.is_constant(int(t))]
    source = found.pop() if len(found) == 1 else None
    square = source is not None and len(graph.shape(source)) == 4 and graph.shape(source)[0] == 1
    return source if square and graph.scales(source or 0) == graph.scales(result) else None


def _find_taps(
    graph: TfliteGraph, made: dict[int, Any], source: int, operator: Any
) -> np.ndarray | None:
    """(row, column) in 0..2 of the single weight of each channel; None if there is no such."""
    _, rows, columns, depth = graph.shape(source)
    places = np.arange(rows * columns * depth).reshape(1, rows, columns, depth)
    try:
        came_from = _evaluate(graph, made, int(operator.outputs[0]), {source: places})
    except NotImplementedError:
        return None
    padded = np.pad(places, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=FILLING)
    taps = np.full((depth, 2), FILLING)
    for row in range(3):
        for column in range(3):
            moved = padded[:, row : row + rows, column : column + columns]
            alike = (moved == came_from).all(axis=(0, 1, 2))
            taps[alike] = row, column
    return None if (taps == FILLING).any() else taps


def _evaluate(
    graph: TfliteGraph, made: dict[int, Any], tensor: int, known: dict[int, np.ndarray]
) -> np.ndarray:
    """What a tensor holds, out of what is known; NotImplementedError for a move of another kind."""
    if tensor not in known:
        maker = made[tensor]
        kind = graph.kind(maker)
        fixed = [graph.constant_input(maker, place) for place in range(len(maker.inputs))]
        entering = [
            _evaluate(graph, made, int(index), known) if value is None else value
            for index, value in zip(maker.inputs, fixed, strict=True)
        ]
        if any(value is not None for value in fixed) and kind == "CONCATENATION":
            raise NotImplementedError
        results = MOVERS[kind](entering, maker.builtinOptions, len(maker.outputs))
        known.update(zip((int(index) for index in maker.outputs), results, strict=True))
    return known[tensor]


def _join(entering: list[np.ndarray], options: Any, count: int) -> list[np.ndarray]:
    if options.fusedActivationFunction != NO_ACTIVATION:
        raise NotImplementedError
    return [np.concatenate(entering, options.axis)]


def _pad(entering: list[np.ndarray], options: Any, count: int) -> list[np.ndarray]:
    return [np.pad(entering[0], entering[1], constant_values=FILLING)]


def _slice(entering: list[np.ndarray], options: Any, count: int) -> list[np.ndarray]:
    x, begins, sizes = entering
    pairs = zip(begins, sizes, strict=True)
    return [x[tuple(slice(b, b + s if s >= 0 else None) for b, s in pairs)]]


def _slice_strided(entering: list[np.ndarray], options: Any, count: int) -> list[np.ndarray]:
    x, begins, ends, strides = entering
    return [_strided(x, begins, ends, strides, options)]


def _split(entering: list[np.ndarray], options: Any, count: int) -> list[np.ndarray]:
    axis, x = entering
    return list(np.split(x, count, int(axis.flat[0])))


def _split_unevenly(entering: list[np.ndarray], options: Any, count: int) -> list[np.ndarray]:
    x, sizes, axis = entering
    return list(np.split(x, np.cumsum(sizes)[:-1], int(axis.flat[0])))


def _strided(
    x: np.ndarray, begins: np.ndarray, ends: np.ndarray, strides: np.ndarray, options: Any
) -> np.ndarray:
    if options.ellipsisMask or options.newAxisMask or options.shrinkAxisMask or options.offset:
        raise NotImplementedError
    places = [
        slice(
            None if options.beginMask >> axis & 1 else int(begin),
            None if options.endMask >> axis & 1 else int(end),
            int(stride),
        )
        for axis, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True))
    ]
    return x[tuple(places)]


def _convolution(graph: TfliteGraph, x: int, y: int, taps: np.ndarray) -> Any:
    depth = len(taps)
    weights = np.zeros((1, 3, 3, depth), np.int8)
    weights[0, taps[:, 0], taps[:, 1], np.arange(depth)] = LARGEST
    kernel = graph.add_near(y, "shift_weights", weights.shape, "int8", weights)
    graph.set_scale(kernel, np.full(depth, 1 / LARGEST), np.zeros(depth, np.int64), axis=3)
    bias = graph.add_near(y, "shift_bias", (depth,), "int32", np.zeros(depth, np.int32))
    scale = graph.scales(x)[0] / LARGEST
    graph.set_scale(bias, np.full(depth, scale), np.zeros(depth, np.int64))
    return graph.make_int8(
        "DEPTHWISE_CONV_2D",
        [x, kernel, bias],
        [y],
        "DepthwiseConv2DOptions",
        padding=PADDING_SAME,
        strideH=1,
        strideW=1,
        depthMultiplier=1,
        fusedActivationFunction=NO_ACTIVATION,
    )


# What a shift is written with; (values, options, results) -> what is computed.
MOVERS = {
    "CONCATENATION": _join,
    "PAD": _pad,
    "SLICE": _slice,
    "STRIDED_SLICE": _slice_strided,
    "SPLIT": _split,
    "SPLIT_V": _split_unevenly,
}
