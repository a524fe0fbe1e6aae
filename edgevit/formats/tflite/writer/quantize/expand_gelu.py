"""GELU as operators that have int16 kernels; LiteRT's own GELU takes int8 and float alone.

``x * sigmoid(x * (a + b * x * x))`` with ``a = 2 sqrt(2 / pi)`` and ``b = 0.044715 a`` is the tanh
form of Hendrycks and Gimpel (2016, arXiv:1606.08415), written with the logistic function. It is at
most 4.8e-4 from the exact one: for layers that ask for the approximation it is the same.
"""

from __future__ import annotations

import math

import numpy as np

from edgevit.formats.tflite.runtime.file import tensor_name
from edgevit.formats.tflite.writer.graph import TfliteGraph

SLOPE = 2 * math.sqrt(2 / math.pi)
CURVE = 0.044715 * SLOPE
SATURATED = 12.0  # sigmoid(12) is 1 within 6e-6: beyond, int16 may clip


def expand_gelu(
    graph: bytes, ranges: dict[str, tuple[float, float]]
) -> tuple[bytes, dict[str, tuple[float, float]]]:
    """A float graph without GELU, and its ranges.

    Args:
        graph: float .tflite.
        ranges: (smallest, largest) of activations by name.

    Returns:
        (graph, ranges): those of the new activations are computed, not measured.
    """
    editor = TfliteGraph(graph)
    if "GELU" not in editor.kinds:
        return graph, ranges
    found = dict(ranges)
    operators = []
    constants = {
        name: _add_scalar(editor, name, value)
        for name, value in {"gelu_slope": SLOPE, "gelu_curve": CURVE}.items()
    }
    for operator, kind in zip(editor.operators, editor.kinds, strict=True):
        if kind != "GELU":
            operators.append(operator)
            continue
        (x,), (result,) = map(int, operator.inputs), map(int, operator.outputs)
        low, high = found[tensor_name(editor.tensors[x])]
        square = max(low * low, high * high)

        def write(kind: str, inputs: list[int], suffix: str, limits, out: int | None = None) -> int:
            made = editor.copy_tensor(result, suffix, "float32") if out is None else out  # noqa: B023
            if limits is not None:
                found[tensor_name(editor.tensors[made])] = limits
            operators.append(editor.make_elementwise(kind, inputs, made))
            return made

        squared = write("MUL", [x, x], "/square", (0.0, square))
        curved = write("MUL", [squared, constants["gelu_curve"]], "/curve", (0.0, CURVE * square))
        steepness = write(
            "ADD", [curved, constants["gelu_slope"]], "/slope", (0.0, SLOPE + CURVE * square)
        )
        ends = [x * (SLOPE + CURVE * x * x) for x in (low, high)]
        limits = (max(ends[0], -SATURATED), min(ends[1], SATURATED))
        inner = write("MUL", [x, steepness], "/inner", limits)
        gate = write("LOGISTIC", [inner], "/gate", (0.0, 1.0))
        write("MUL", [x, gate], "", None, result)
    editor.operators = operators
    return editor.to_bytes(), found


def _add_scalar(editor: TfliteGraph, name: str, value: float) -> int:
    index = editor.add_constant(int(editor.graph.inputs[0]), "", np.array([value], np.float32))
    tensor = editor.tensors[index]
    tensor.name, tensor.shape, tensor.shapeSignature = name, np.array([1], np.int32), None
    return index
