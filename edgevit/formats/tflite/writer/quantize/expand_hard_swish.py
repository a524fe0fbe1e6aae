"""Hard swish as operators that have int16 kernels: ``x * relu6(x + 3) / 6``.

LiteRT's own HARD_SWISH (Howard et al. 2019, arXiv:1905.02244) takes int8 and float alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes.rewriting import replace_each
from edgevit.formats.tflite.writer.quantize.integer import Ranges

RELU6 = 3  # ActivationFunctionType of the schema


def expand_hard_swish(graph: TfliteGraph, ranges: Ranges) -> Ranges:
    """Rewrites every hard swish of a float graph, which is changed in place.

    Args:
        graph: float32.
        ranges: (smallest, largest) of activations by name.

    Returns:
        The ranges; those of the new activations are computed, not measured.
    """
    found = dict(ranges)
    if "HARD_SWISH" not in graph.kinds:
        return found
    replace_each(graph, "HARD_SWISH", lambda swish: _write(graph, swish, found))
    return found


def _write(graph: TfliteGraph, operator: Any, ranges: Ranges) -> list[Any]:
    (x,), (result,) = map(int, operator.inputs), map(int, operator.outputs)
    low, high = ranges[graph.name(result)]
    three, sixth = (
        graph.add_near(result, role, (1,), "float32", np.array([value], np.float32))
        for role, value in (("three", 3.0), ("sixth", 1 / 6))
    )
    gate = graph.copy_tensor(result, "/gate", "float32")
    ranges[graph.name(gate)] = (0.0, 6.0)
    product = graph.copy_tensor(result, "/product", "float32")
    ranges[graph.name(product)] = (6 * low, 6 * high)
    options = {"fusedActivationFunction": RELU6}
    return [
        graph.make_operator("ADD", 1, [x, three], [gate], "AddOptions", **options),
        graph.make_elementwise("MUL", [x, gate], product),
        graph.make_elementwise("MUL", [product, sixth], result),
    ]
