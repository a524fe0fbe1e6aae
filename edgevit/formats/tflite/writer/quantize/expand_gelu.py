"""GELU as operators that have int16 kernels; LiteRT's own GELU takes int8 and float alone.

``x * sigmoid(x * (a + b * x * x))`` with ``a = 2 sqrt(2 / pi)`` and ``b = 0.044715 a`` is the tanh
form of Hendrycks and Gimpel (2016, arXiv:1606.08415), written with the logistic function. It is at
most 4.8e-4 from the exact one: for layers that ask for the approximation it is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes.rewriting import replace_each
from edgevit.formats.tflite.writer.quantize.integer import Ranges

SLOPE = 2 * math.sqrt(2 / math.pi)
CURVE = 0.044715 * SLOPE
SATURATED = 12.0  # sigmoid(12) is 1 within 6e-6: beyond, int16 may clip


def expand_gelu(graph: TfliteGraph, ranges: Ranges) -> Ranges:
    """Rewrites every GELU of a float graph, which is changed in place.

    Args:
        graph: float32.
        ranges: (smallest, largest) of activations by name.

    Returns:
        The ranges; those of the new activations are computed, not measured.
    """
    found = dict(ranges)
    if "GELU" not in graph.kinds:
        return found
    constants = [
        _add_scalar(graph, name, value)
        for name, value in {"gelu_slope": SLOPE, "gelu_curve": CURVE}.items()
    ]
    replace_each(graph, "GELU", lambda gelu: _write_gelu(graph, gelu, constants, found))
    return found


def _write_gelu(
    graph: TfliteGraph, operator: Any, constants: Sequence[int], ranges: Ranges
) -> list[Any]:
    (x,), (result,) = map(int, operator.inputs), map(int, operator.outputs)
    slope, curve = constants
    low, high = ranges[graph.name(x)]
    square = max(low * low, high * high)
    ends = [end * (SLOPE + CURVE * end * end) for end in (low, high)]
    written: list[Any] = []

    def write(kind: str, inputs: list[int], suffix: str, low: float, high: float) -> int:
        made = graph.copy_tensor(result, suffix, "float32")
        ranges[graph.name(made)] = (low, high)
        written.append(graph.make_elementwise(kind, inputs, made))
        return made

    squared = write("MUL", [x, x], "/square", 0.0, square)
    curved = write("MUL", [squared, curve], "/curve", 0.0, CURVE * square)
    steepness = write("ADD", [curved, slope], "/slope", 0.0, SLOPE + CURVE * square)
    inner = write(
        "MUL", [x, steepness], "/inner", max(ends[0], -SATURATED), min(ends[1], SATURATED)
    )
    gate = write("LOGISTIC", [inner], "/gate", 0.0, 1.0)
    return [*written, graph.make_elementwise("MUL", [x, gate], result)]


def _add_scalar(graph: TfliteGraph, name: str, value: float) -> int:
    index = graph.add_constant(int(graph.graph.inputs[0]), "", np.array([value], np.float32))
    tensor = graph.tensors[index]
    tensor.name, tensor.shape, tensor.shapeSignature = name, np.array([1], np.int32), None
    return index
