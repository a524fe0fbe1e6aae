"""Variances of LayerNormalization in int8: squares counted on a fine and on a coarse scale.

A norm divides by the root of ``mean(d * d)``. The squares of one tensor share one scale, and the
largest square, which few channels at few positions reach, is 10 to 200 times the largest mean. Half
a level of that can be more than all squares of a position whose variance is small: they round to
zero, the mean with them, and the norm multiplies the position by the wrong number. PatchConvNet's
first norm answered at 14.8 dB for that reason alone.

So the squares are computed twice: ``mean(min(d^2, t)) + mean(max(d^2 - t, 0))`` with the largest
mean as t. The first has the levels that the mean itself has; the second has the coarse levels,
which are fine enough for what is large. int8 saturates at t and at 0 without being told. In real
arithmetic the sum is the same. That norm answers at 25.1 dB then, where an exact mean would give
25.3.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes.rewriting import replace_where
from edgevit.formats.tflite.writer.quantize.integer import Ranges

STEPS = 255  # between the levels of int8
COARSE = 1.0  # a step of the squares, in smallest means: above, positions lose theirs


def refine_squares(graph: TfliteGraph, ranges: Ranges) -> tuple[Ranges, tuple[str, ...]]:
    """Puts means of squares on two scales, in a float graph that is about to become int8.

    As floats it computes something else then, because nothing saturates: it is for the quantiser
    alone.

    Args:
        graph: float32; changed in place.
        ranges: (smallest, largest) of activations by name.

    Returns:
        (ranges, steps taken): ranges of the new activations are computed, not measured.
    """
    found = dict(ranges)
    made = graph.makers()

    def write(operator: Any) -> list[Any] | None:
        square = made.get(int(operator.inputs[0])) if graph.kind(operator) == "MEAN" else None
        if square is None or not _loses_small_ones(graph, square, operator, found):
            return None
        return _on_two_scales(graph, square, operator, found)

    count = replace_where(graph, write)
    if not count:
        return found, ()
    graph.prune()
    return found, (f"{count} means of squares on two scales",)


def _loses_small_ones(graph: TfliteGraph, square: Any, mean: Any, ranges: Ranges) -> bool:
    """Whether a mean is one of squares whose levels are coarser than the smallest mean."""
    squares, result = int(square.outputs[0]), int(mean.outputs[0])
    if graph.kind(square) != "MUL" or int(square.inputs[0]) != int(square.inputs[1]):
        return False
    of_squares, of_means = (ranges.get(graph.name(tensor)) for tensor in (squares, result))
    if of_squares is None or of_means is None:
        return False
    (_, largest), (low, high) = of_squares, of_means
    return high > 0 and largest > high and largest / STEPS > COARSE * low


def _on_two_scales(graph: TfliteGraph, square: Any, mean: Any, ranges: Ranges) -> list[Any]:
    """What takes the place of a mean; its squares become the coarse ones."""
    d, squares, result = int(square.inputs[0]), int(square.outputs[0]), int(mean.outputs[0])
    _, largest = ranges[graph.name(squares)]
    _, threshold = ranges[graph.name(result)]

    def add(like: int, role: str, high: float) -> int:
        name = f"{graph.name(like)}/{role}"
        ranges[name] = (0.0, high)
        return graph.add_tensor(name, graph.shape(like), "float32", free=graph.is_free(like))

    fine = add(squares, "fine", threshold)
    excess = add(squares, "excess", largest - threshold)
    parts = add(result, "fine", threshold), add(result, "excess", threshold)
    limit = graph.add_near(result, "limit", (1,), "float32", np.array([-threshold], np.float32))
    return [
        graph.make_elementwise("MUL", [d, d], fine),
        graph.make_elementwise("ADD", [squares, limit], excess),
        _mean_like(mean, fine, parts[0]),
        _mean_like(mean, excess, parts[1]),
        graph.make_elementwise("ADD", parts, result),
    ]


def _mean_like(mean: Any, source: int, result: int) -> Any:
    made = copy.copy(mean)
    made.inputs = np.array([source, int(mean.inputs[1])], np.int32)
    made.outputs = np.array([result], np.int32)
    return made
