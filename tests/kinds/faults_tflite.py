"""Faults in .tflite files. Each function changes a graph in place and says whether it could."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph

# Operators with weights: the axis of their output channels, and the place of their bias.
WEIGHTED = {
    "CONV_2D": (0, 2),
    "DEPTHWISE_CONV_2D": (3, 2),
    "FULLY_CONNECTED": (0, 2),
    "TRANSPOSE_CONV": (0, 3),
}
ACTIVATIONS = ("RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH", "SOFTMAX", "GELU", "LEAKY_RELU")
ZERO_POINT_SHIFT = 16


def scale_channel(graph: TfliteGraph, factor: float) -> bool:
    """One channel of the last layer answers more than it should."""
    operator = _weighted(graph)[-1]
    axis, bias_place = WEIGHTED[graph.kind(operator)]
    channel = _loudest(graph, operator, axis)
    for place, where in ((1, axis), (bias_place, 0)):
        if not _has(graph, operator, place):
            continue
        tensor = int(operator.inputs[place])
        values, scales = graph.values(tensor).copy(), _scales(graph, tensor)
        if len(scales) > 1:
            scales[channel] *= factor
        elif len(scales) == 1:  # levels have no room above, so the channel answers less
            part = np.moveaxis(values, where, 0)[channel]
            part[...] = np.rint(part / factor)
        else:
            np.moveaxis(values, where, 0)[channel] *= factor
        _give(graph, operator, place, values, scales)
    return True


def swap_channels(graph: TfliteGraph) -> bool:
    """Two channels of the last layer take each other's place; there must be two."""
    operator = _weighted(graph)[-1]
    axis, bias_place = WEIGHTED[graph.kind(operator)]
    if graph.shape(int(operator.inputs[1]))[axis] < 2:
        return False
    for place, where in ((1, axis), (bias_place, 0)):
        if not _has(graph, operator, place):
            continue
        tensor = int(operator.inputs[place])
        values, scales = graph.values(tensor).copy(), _scales(graph, tensor)
        for array in (np.moveaxis(values, where, 0), scales):
            if len(array) > 1:
                array[[0, 1]] = array[[1, 0]]
        _give(graph, operator, place, values, scales)
    return True


def swap_outputs(graph: TfliteGraph) -> bool:
    """Two outputs of one shape and type take each other's name."""
    outputs = [int(index) for index in graph.graph.outputs]
    alike: dict[Any, list[int]] = {}
    for index in outputs:
        alike.setdefault((graph.shape(index), graph.type(index)), []).append(index)
    pair = next((found for found in alike.values() if len(set(found)) > 1), None)
    if pair is None:
        return False
    other = {pair[0]: pair[1], pair[1]: pair[0]}
    graph.graph.outputs = [other.get(index, index) for index in outputs]
    for signature in graph.model.signatureDefs or []:
        for entry in signature.outputs:
            entry.tensorIndex = other.get(entry.tensorIndex, entry.tensorIndex)
    return True


def reverse_colours(graph: TfliteGraph) -> bool:
    """The first convolution reads red as blue."""
    for operator in _weighted(graph):
        tensor = int(operator.inputs[1])
        if graph.kind(operator) == "CONV_2D" and graph.shape(tensor)[3] == 3:
            values = np.ascontiguousarray(graph.values(tensor)[..., ::-1])
            _give(graph, operator, 1, values, _scales(graph, tensor))
            return True
    return False


def take_nearest(graph: TfliteGraph) -> bool:
    """Every bilinear resize takes the nearest place instead."""
    resizes = [op for op in graph.operators if graph.kind(op) == "RESIZE_BILINEAR"]
    for operator in resizes:
        made = graph.make_operator(
            "RESIZE_NEAREST_NEIGHBOR",
            3,
            [int(index) for index in operator.inputs],
            [int(index) for index in operator.outputs],
            "ResizeNearestNeighborOptions",
            halfPixelCenters=True,
        )
        graph.operators = [made if op is operator else op for op in graph.operators]
    return bool(resizes)


def drop_activation(graph: TfliteGraph) -> bool:
    """The last activation is lost: a fused one of a float operator, or one of its own."""
    for operator in reversed(graph.operators):
        result, options = int(operator.outputs[0]), operator.builtinOptions
        if graph.kind(operator) in ACTIVATIONS:
            source = int(operator.inputs[0])
            graph.bypass(operator, 0)
            if graph.is_output(result):
                graph.set_output(result, source)
            return True
        if graph.type(result) == "float32" and getattr(options, "fusedActivationFunction", 0):
            options.fusedActivationFunction = NO_ACTIVATION
            return True
    return False


def shift_zero_point(graph: TfliteGraph) -> bool:
    """The last layer reads integers with another zero point than they were written with."""
    for operator in reversed(_weighted(graph)):
        axis, place = WEIGHTED[graph.kind(operator)]
        weights = int(operator.inputs[1])
        if graph.type(weights) != "int8" or not _has(graph, operator, place):
            continue
        bias = int(operator.inputs[place])
        if graph.type(bias) != "int32":
            return False
        levels = np.moveaxis(graph.values(weights).astype(np.int64), axis, 0)
        moved = graph.values(bias) + ZERO_POINT_SHIFT * levels.reshape(len(levels), -1).sum(axis=1)
        _give(graph, operator, place, moved.astype(np.int32), _scales(graph, bias))
        return True
    return False


def _weighted(graph: TfliteGraph) -> list[Any]:
    return [op for op in graph.operators if graph.kind(op) in WEIGHTED and _has(graph, op, 1)]


def _has(graph: TfliteGraph, operator: Any, place: int) -> bool:
    return graph.constant_input(operator, place) is not None


def _loudest(graph: TfliteGraph, operator: Any, axis: int) -> int:
    """The channel with the largest weights."""
    tensor = int(operator.inputs[1])
    values = np.moveaxis(graph.values(tensor).astype(np.float64), axis, 0)
    loud = np.abs(values.reshape(len(values), -1)).sum(axis=1)
    scales = _scales(graph, tensor)
    return int(np.argmax(loud * (scales if len(scales) > 1 else 1)))


def _scales(graph: TfliteGraph, tensor: int) -> np.ndarray:
    """Scales of a tensor; empty where it has none."""
    found = graph.tensors[tensor].quantization
    return np.array([] if found is None or found.scale is None else found.scale, np.float32)


def _give(
    graph: TfliteGraph, operator: Any, place: int, values: np.ndarray, scales: np.ndarray
) -> None:
    """An operator reads a constant of its own instead of one that it may share."""
    tensor = int(operator.inputs[place])
    made = graph.add_constant(tensor, "/own", values)
    if len(scales):
        before = graph.tensors[tensor].quantization
        graph.set_scale(made, scales, before.zeroPoint, before.quantizedDimension)
    inputs = [int(index) for index in operator.inputs]
    inputs[place] = made
    operator.inputs = inputs
