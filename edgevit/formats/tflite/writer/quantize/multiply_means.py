"""Means over channels as products with a constant, for accelerators without such a mean.

Arm's Ethos-U has a mean over rows and columns, but one over channels only where rows or columns are
a single one; its compiler leaves the others to the CPU. A mean of C channels is a product with a
column of ``1 / C``. The column is 127 everywhere at the scale ``1 / (127 C)``, which is exact, so
the product rounds once, where the mean rounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph
from edgevit.formats.tflite.writer.passes.rewriting import replace_where

LARGEST = 127  # of a symmetric int8 weight


def multiply_means(graph: TfliteGraph) -> int:
    """Writes each int8 mean over channels as FULLY_CONNECTED.

    Args:
        graph: integer-only; changed in place.

    Returns:
        How many there were.
    """
    return replace_where(
        graph, lambda mean: _write(graph, mean) if _is_over_channels(graph, mean) else None
    )


def _is_over_channels(graph: TfliteGraph, operator: Any) -> bool:
    if graph.kind(operator) != "MEAN":
        return False
    x, y = int(operator.inputs[0]), int(operator.outputs[0])
    axes = graph.constant_input(operator, 1)
    rank = len(graph.shape(x))
    if axes is None or {graph.type(x), graph.type(y)} != {"int8"}:
        return False
    return [int(axis) % rank for axis in np.atleast_1d(axes)] == [rank - 1]


def _write(graph: TfliteGraph, operator: Any) -> list[Any]:
    x, y = int(operator.inputs[0]), int(operator.outputs[0])
    depth = graph.shape(x)[-1]
    ones = np.full((1, depth), LARGEST, np.int8)
    weights = graph.add_near(y, "mean_weights", ones.shape, "int8", ones)
    graph.set_scale(weights, [1 / (LARGEST * depth)], [0])
    product, after = y, []
    if not operator.builtinOptions.keepDims:
        product = graph.add_tensor(
            f"{graph.name(y)}/product", (*graph.shape(x)[:-1], 1), "int8", free=graph.is_free(x)
        )
        graph.tensors[product].quantization = graph.tensors[y].quantization
        after = [graph.make_reshape(product, y, y)]
    options = {"fusedActivationFunction": NO_ACTIVATION, "keepNumDims": True}
    made = graph.make_int8(
        "FULLY_CONNECTED", [x, weights, -1], [product], "FullyConnectedOptions", **options
    )
    return [made, *after]
