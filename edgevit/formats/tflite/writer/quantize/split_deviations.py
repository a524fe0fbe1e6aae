"""Deviations of normalisations in int16: from the smallest to the largest in pieces.

A norm divides by ``sqrt(mean(d * d) + eps)``. LiteRT computes RSQRT of int16 as lines between 256
points, so below some five hundred levels of 32,767 its curve is another one: at 128 it is off by
several per cent, and below that it answers what it has for zero. Where one token is far weaker than
the others, as the class token that PatchConvNet's pooling learns (1/18,000 of the largest), its
mean is two levels, its deviation was off by 20 %, and the attention behind it by 5 %.

With ``t_0 < t_1 < ... < t_n``, the last one the largest mean, ``1 / sqrt(m)`` is the product of
``sqrt(t_(i-1) / clip(m, t_(i-1), t_i))`` over the pieces i > 1, times ``1 / sqrt(min(m, t_1))``. A
piece has squares and a mean of its own, on a scale that ends at t_i and saturates: its squares at
C * t_i, so that a position whose mean is at most t_i keeps all of its C squares, and one above is
t_i at least.
"""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes.rewriting import replace_where
from edgevit.formats.tflite.writer.quantize.integer import Ranges

RATIO = 32.0  # of the ends of a piece: 1,024 levels at its lower one, where RSQRT is 0.1 % off
COARSE = 64.0  # largest mean over the smallest from which on it is worth it
HEADROOM = 1.2  # a table rounds its points, and so has to hold what is beyond the ends
FLOORS = ("ADD", "MAXIMUM")  # how a small constant is kept in


def split_deviations(graph: TfliteGraph, ranges: Ranges) -> tuple[Ranges, tuple[str, ...]]:
    """Computes reciprocal deviations in pieces, in a float graph that is about to become int16.

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
        chain = _norm_chain(graph, operator, made) if graph.kind(operator) == "RSQRT" else None
        if chain is None or _spread(graph, chain, found) <= COARSE:
            return None
        return _in_pieces(graph, operator, chain, found)

    count = replace_where(graph, write)
    if not count:
        return found, ()
    graph.prune()
    return found, (f"{count} deviations in pieces",)


def _norm_chain(graph: TfliteGraph, root: Any, made: dict[int, Any]) -> tuple[Any, Any, Any] | None:
    """(sum with epsilon, mean, square) in front of a reciprocal root; None for anything else."""
    chain, tensor = [], int(root.inputs[0])
    for kinds in (FLOORS, ("MEAN",), ("MUL",)):
        operator = made.get(tensor)
        if operator is None or graph.kind(operator) not in kinds:
            return None
        chain.append(operator)
        tensor = int(operator.inputs[0])
    floor, mean, square = chain
    epsilon = graph.constant_input(floor, 1)
    squares = int(square.inputs[0]) == int(square.inputs[1])
    return (floor, mean, square) if squares and epsilon is not None and epsilon.size == 1 else None


def _ends(graph: TfliteGraph, chain: tuple[Any, Any, Any], ranges: Ranges) -> tuple[float, float]:
    """(smallest, largest) of what the root is taken of."""
    floor, mean, _ = chain
    epsilon = _epsilon(graph, floor)
    low, high = ranges.get(graph.name(int(mean.outputs[0])), (1.0, 1.0))
    return max(low, epsilon), max(high, epsilon)


def _epsilon(graph: TfliteGraph, floor: Any) -> float:
    return float(np.asarray(graph.constant_input(floor, 1)).item())


def _spread(graph: TfliteGraph, chain: tuple[Any, Any, Any], ranges: Ranges) -> float:
    low, high = _ends(graph, chain, ranges)
    return high / low if low > 0 else 1.0


def _in_pieces(
    graph: TfliteGraph, root: Any, chain: tuple[Any, Any, Any], ranges: Ranges
) -> list[Any]:
    """What computes the reciprocal root."""
    low, high = _ends(graph, chain, ranges)
    count = math.ceil(math.log(high / low, RATIO))
    ends = [low, *(high / RATIO**back for back in range(count - 1, -1, -1))]
    made, product = [], -1
    for number, (start, end) in enumerate(itertools.pairwise(ends)):
        operators, factor = _piece(graph, root, chain, ranges, (start, end), number)
        made += operators
        if number:
            last = number == count - 1
            name = f"{graph.name(int(root.outputs[0]))}/until{number}"
            whole = int(root.outputs[0]) if last else _like(graph, int(root.outputs[0]), name)
            if not last:
                ranges[name] = (0.0, HEADROOM / math.sqrt(low))
            made.append(graph.make_elementwise("MUL", [product, factor], whole))
            factor = whole
        product = factor
    return made


def _piece(
    graph: TfliteGraph,
    root: Any,
    chain: tuple[Any, Any, Any],
    ranges: Ranges,
    ends: tuple[float, float],
    number: int,
) -> tuple[list[Any], int]:
    """(operators, the tensor of the factor that they compute)."""
    floor, mean, square = chain
    start, end = ends
    d, result = int(square.inputs[0]), int(root.outputs[0])
    channels = math.prod(graph.shape(d)) // math.prod(graph.shape(int(mean.outputs[0])))

    def add(operator: Any, role: str, most: float) -> int:
        name = f"{graph.name(int(operator.outputs[0]))}/{role}{number}"
        ranges[name] = (0.0, most)
        return _like(graph, int(operator.outputs[0]), name)

    def constant(role: str, value: float) -> int:
        return graph.add_near(result, role, (1,), "float32", np.array([value], np.float32))

    squares, means = add(square, "piece", channels * end), add(mean, "piece", end)
    floored, factor = add(floor, "piece", end), add(root, "piece", HEADROOM / math.sqrt(start))
    reduced = copy.copy(mean)
    reduced.inputs = np.array([squares, int(mean.inputs[1])], np.int32)
    reduced.outputs = np.array([means], np.int32)
    # A constant of a MAXIMUM has the scale of what it is held against: each piece has its own.
    epsilon, kind = constant("epsilon", _epsilon(graph, floor)), graph.kind(floor)
    operators = [
        graph.make_elementwise("MUL", [d, d], squares),
        reduced,
        graph.make_elementwise(kind, [means, epsilon], floored),
    ]
    if not number:
        return [*operators, graph.make_elementwise("RSQRT", [floored], factor)], factor
    clipped, scaled = add(floor, "clip", end), add(root, "share", HEADROOM)
    operators += [
        graph.make_elementwise("MAXIMUM", [floored, constant("threshold", start)], clipped),
        graph.make_elementwise("RSQRT", [clipped], factor),
        graph.make_elementwise("MUL", [factor, constant("root", math.sqrt(start))], scaled),
    ]
    return operators, scaled


def _like(graph: TfliteGraph, tensor: int, name: str) -> int:
    """A new float tensor of the shape of another."""
    return graph.add_tensor(name, graph.shape(tensor), "float32", free=graph.is_free(tensor))
